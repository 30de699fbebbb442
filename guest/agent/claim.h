/* The claim, which makes a clone unique; and the renewal of random generator and clock after each pause. */
#ifndef AGENT_CLAIM_H
#define AGENT_CLAIM_H
#include "channel.h"

void take_claim(struct reader *payload);
void take_renew(struct reader *payload);

#endif

/* The claim: makes this clone unlike its siblings, once; and the same of generator and clock after each standstill. */
#ifndef AGENT_CLAIM_H
#define AGENT_CLAIM_H
#include "channel.h"

void take_claim(struct reader *payload);
void take_renew(struct reader *payload);

#endif

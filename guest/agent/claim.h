/* The claim: makes this clone unlike its siblings, once. */
#ifndef AGENT_CLAIM_H
#define AGENT_CLAIM_H
#include "channel.h"

void take_claim(struct reader *payload);

#endif

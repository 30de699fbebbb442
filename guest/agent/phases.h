/* Phase commands, a fixed list: each removes a right, and none restores one. */
#ifndef AGENT_PHASES_H
#define AGENT_PHASES_H
#include "channel.h"

void take_phase(struct reader *payload);

#endif

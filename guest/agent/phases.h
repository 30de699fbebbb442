/* Phase commands, a closed list: each takes something away, and none gives it back. */
#ifndef AGENT_PHASES_H
#define AGENT_PHASES_H
#include "channel.h"

void take_phase(struct reader *payload);

#endif

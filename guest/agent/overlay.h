/* Lists of the overlay folder: what the guest has written. */
#ifndef AGENT_OVERLAY_H
#define AGENT_OVERLAY_H
#include "channel.h"

int open_overlay(const char *path);
void take_list(struct reader *payload);

#endif

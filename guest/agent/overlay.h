/* Files of the guest: those that programs write, and what its kernel tells in files. */
#ifndef AGENT_OVERLAY_H
#define AGENT_OVERLAY_H
#include "channel.h"

/* Folder with the files that this guest wrote. Returns whether it is there. */
int open_overlay(const char *path);
void take_list(struct reader *payload);
void take_look(struct reader *payload);
void take_read(struct reader *payload);

#endif

/* Lists and reads files of the guest: files that programs wrote, and files of procfs. */
#ifndef AGENT_OVERLAY_H
#define AGENT_OVERLAY_H
#include "channel.h"

/* Opens the upper folder of the overlay, with the files that this guest wrote. Returns whether it exists. */
int open_overlay(const char *path);
/* Opens /tmp and /dev/shm, before any program can mount others there. */
void open_scratch(void);
/* True if the overlay, /tmp or /dev/shm is a tmpfs that has no room for files to speak of. */
int is_scratch_full(void);
void take_list(struct reader *payload);
void take_look(struct reader *payload);
void take_read(struct reader *payload);

#endif

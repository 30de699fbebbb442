/* Observations of the job's programs, told to the host while it gave credit for them. */
#ifndef AGENT_WATCH_H
#define AGENT_WATCH_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include "channel.h"

enum { WATCH_POLLS_MAX = 4 };

/* Opens what the kernel has of it; the second, once the root of programs is there. */
void open_watch(void);
void watch_places(void);
/* Whether the kernel tells of programs that are executed. */
int can_watch(void);

/* Takes the credit away: a copy of this guest has another host. */
void forget_watch(void);
void take_watch(struct reader *payload);
/* Adds the descriptors to wait for; returns the count. */
size_t poll_watch(struct pollfd *on);
/* Reads a bounded number of observations of each that is ready, tells those of the job, and counts those beyond the credit. */
void serve_watch(const struct pollfd *on, size_t count);

#endif

/* Observations of the job's programs, reported to the host within its credit. */
#ifndef AGENT_WATCH_H
#define AGENT_WATCH_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include "channel.h"

enum { WATCH_POLLS_MAX = 4 };

/* Opens the sources that the kernel has; the second function runs once the root of programs is mounted. */
void open_watch(void);
void watch_places(void);
/* True if the kernel reports execs. */
int can_watch(void);

/* Resets the credit, because a copy of this guest has another host. */
void forget_watch(void);
void take_watch(struct reader *payload);
/* Adds the descriptors to poll; returns their number. */
size_t poll_watch(struct pollfd *on);
/* Reads a bounded number of events of each ready source, reports those of the job, and counts those without credit. */
void serve_watch(const struct pollfd *on, size_t count);

#endif

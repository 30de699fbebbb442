/* Programs that the agent starts: their streams, signals, ends. */
#ifndef AGENT_PROGRAMS_H
#define AGENT_PROGRAMS_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include "channel.h"

enum { POLLS_MAX = 4 * PROGRAMS_MAX + 2, NAMED_MAX = 16, NAMED_BYTES_MAX = 32 };

/* Limits of programs that start from now on, by the order of the wire; UINT64_MAX leaves one as it is. */
extern uint64_t limits[LIMITS];
extern const int limit_numbers[LIMITS];

/* Descriptors that programs may be given, by name. */
int add_descriptor(const char *name, int fd);

void take_run(struct reader *payload);
void take_input(struct reader *payload);
void take_close(struct reader *payload);
void take_credit(struct reader *payload);
void take_signal(struct reader *payload);
void take_kill(struct reader *payload);

/* Adds the descriptors to wait for; returns the count. */
size_t poll_programs(struct pollfd *on);
/* Moves bytes of every stream that can move, and tells what happened. */
void serve_programs(void);
/* Reaps a bounded number of children; returns whether there may be more. */
int reap_some(void);
/* SIGKILL for all processes of this namespace but this one, until none is left or two seconds are over: then 0. */
int kill_all(void);

#endif

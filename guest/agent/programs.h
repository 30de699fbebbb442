/* Programs that the agent starts: streams, signals, exits. */
#ifndef AGENT_PROGRAMS_H
#define AGENT_PROGRAMS_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include "channel.h"

enum { POLLS_MAX = 4 * PROGRAMS_MAX + 2, NAMED_MAX = 16, NAMED_BYTES_MAX = 32 };

/* Limits of programs started later, in the order of the protocol; UINT64_MAX: unchanged. */
extern uint64_t limits[LIMITS];
extern const int limit_numbers[LIMITS];

/* Adds a descriptor that programs can request by name. */
int add_descriptor(const char *name, int fd);

void take_run(struct reader *payload);
void take_input(struct reader *payload);
void take_close(struct reader *payload);
void take_credit(struct reader *payload);
void take_signal(struct reader *payload);
void take_kill(struct reader *payload);

/* Adds the descriptors to poll; returns their number. */
size_t poll_programs(struct pollfd *on);
/* Reads and writes all streams that are ready, and reports starts, ends and exits. */
void serve_programs(void);
/* Reaps a bounded number of children; returns whether there may be more. */
int reap_some(void);
/* Sends SIGKILL to all other processes of this namespace until none is left; 0 if some are left after two seconds. */
int kill_all(void);

#endif

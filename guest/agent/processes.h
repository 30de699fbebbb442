/* All processes of the namespace, by /proc. */
#ifndef AGENT_PROCESSES_H
#define AGENT_PROCESSES_H
#include <stdint.h>
#include "channel.h"

/* Whether /proc is there and numbers processes as kill(2) does here. */
int open_proc(void);

void take_status(struct reader *payload);
/* Lowers one limit of every process but this one, and never raises it: 0 or an errno. */
int lower_limits(int number, uint64_t value, uint32_t *touched);
/*
 * Kills every process that may write below `path`, and not below `except` if that is no null, by a descriptor or a shared
 * mapping, and was found so by `looks` looks before: 0 or an errno.
 */
int kill_writers(const char *path, const char *except, int looks, uint32_t *touched);

#endif

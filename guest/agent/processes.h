/* All processes of the namespace, by /proc. */
#ifndef AGENT_PROCESSES_H
#define AGENT_PROCESSES_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "channel.h"

/* Whether /proc is there and numbers processes as kill(2) does here. */
int open_proc(void);

void take_status(struct reader *payload);
/* Lowers one limit of every process but this one, and never raises it: 0 or an errno. */
int lower_limits(int number, uint64_t value, uint32_t *touched);
/* Lowers one of `limits` for programs that run and for those that start later; that of processes for their group too. */
int lower_limit(int which, uint64_t value, uint32_t *touched);
/*
 * Kills every process that may write below `path`, and not below `except` if that is no null, by a descriptor or a shared
 * mapping, and was found so by `looks` looks before: 0 or an errno.
 */
int kill_writers(const char *path, const char *except, int looks, uint32_t *touched);
/* Whether a process is known to be in another control group than the job's. */
int is_outside_group(pid_t pid);
/* Reads the profile of AppArmor that a process is under, with its mode, as a line without its end; 0 where it is gone. */
int read_profile(pid_t pid, char *to, size_t bytes);

#endif

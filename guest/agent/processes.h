/* All processes of the PID namespace, found by /proc. */
#ifndef AGENT_PROCESSES_H
#define AGENT_PROCESSES_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "channel.h"

/* True if /proc is mounted and belongs to this PID namespace. */
int open_proc(void);

void take_status(struct reader *payload);
/* Lowers one limit of all processes except this one, and never raises it. Returns 0 or an errno. */
int lower_limits(int number, uint64_t value, uint32_t *touched);
/* Lowers one of `limits` for running and later programs; that of processes also for their cgroup. */
int lower_limit(int which, uint64_t value, uint32_t *touched);
/*
 * Kills each process that has a file below `path` open or mapped shared for writing, and was seen so by `looks` earlier passes. Files
 * below `except`, unless null, do not count. Returns 0 or an errno.
 */
int kill_writers(const char *path, const char *except, int looks, uint32_t *touched);
/* True if a process is known to be in another cgroup than the job's. */
int is_outside_group(pid_t pid);
/* Reads the line of the cgroup of a process, without line feed; 0 if it is gone. */
int read_cgroup(pid_t pid, char *to, size_t bytes);
/* Reads the AppArmor profile of a process with its mode, as a line without line feed; 0 if it is gone. */
int read_profile(pid_t pid, char *to, size_t bytes);

#endif

/* Control group of the job's programs: its limits, its members, whether the kernel enforced its limit of memory, and a standstill. */
#ifndef AGENT_GROUP_H
#define AGENT_GROUP_H
#include <stdint.h>
#include <sys/types.h>
#include "channel.h"

/* Folder of the initrd on which the boot mounts the tree of groups: no program can name it. */
#define GROUPS_FOLDER "/groups"

/*
 * Makes the group, with those controllers that the kernel has, and names the descriptor `group` for programs: a process that
 * writes "0" to it becomes a member. Without a group it is the null device. Returns whether there is a descriptor.
 */
int open_group(void);
/* Whether the kernel has its controller for the group. */
int counts_memory(void);
int counts_tasks(void);
/*
 * Limits memory to `bytes` above what was in use when this was first called, and never raises it. Returns 0, or an errno:
 * ENOSYS where nothing counts it. Above a limit that it lowers the kernel reclaims, and then ends the group's processes.
 */
int limit_memory(uint64_t bytes);
/* Limits processes and threads, and never raises it. Returns 0, also where nothing counts them, or an errno. */
int limit_tasks(uint64_t count);
/* Calls `holds` for each member, until one returns neither 0 nor ESRCH (it is gone): that errno, or 0. */
int for_members(int (*holds)(pid_t pid));
/* Descriptor of the group's events of memory, for poll(2) with POLLPRI; -1 without. */
int open_memory_events(void);
/* The same, as a file of them says. */
uint64_t kills_in(int events);
/* Times that the kernel ended processes of the group for its limit, and bytes in use; 0 where there is no group. */
uint64_t memory_kills(void);
uint64_t memory_in_use(void);

/* Holds the group's processes, or lets them go on, and answers once they do. */
void take_hold(struct reader *payload);
/* Whether no process of the group runs an instruction. */
extern int is_held;

#endif

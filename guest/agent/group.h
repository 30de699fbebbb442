/* Cgroup of the job's programs: limits, members, OOM kills, and freezing. */
#ifndef AGENT_GROUP_H
#define AGENT_GROUP_H
#include <stdint.h>
#include <sys/types.h>
#include "channel.h"

/* Folder of the initrd on which the boot mounts cgroup2; unreachable for programs. */
#define GROUPS_FOLDER "/groups"

/*
 * Makes the cgroup, with the controllers that the kernel has, and provides the descriptor `group` to programs: a process that writes
 * "0" to it becomes a member. Without a cgroup it is /dev/null. Returns whether there is a descriptor.
 */
int open_group(void);
/* True if the memory controller is available. */
int counts_memory(void);
int counts_tasks(void);
/*
 * Limits memory to `bytes` above the usage at the first call, and never raises the limit. Returns 0, or an errno: ENOSYS without a
 * memory controller. If usage is above a lowered limit the kernel reclaims memory, and then kills the processes.
 */
int limit_memory(uint64_t bytes);
/* Limits processes and threads, and never raises the limit. Returns 0, also without a pids controller, or an errno. */
int limit_tasks(uint64_t count);
/* Calls `holds` for each member until it returns an errno other than ESRCH (process gone). Returns that errno, or 0. */
int for_members(int (*holds)(pid_t pid));
/* Descriptor of memory.events, for poll(2) with POLLPRI; -1 without a memory controller. */
int open_memory_events(void);
/* OOM kills, read from that descriptor. */
uint64_t kills_in(int events);
/* Number of OOM kills, and bytes in use; 0 without a cgroup. */
uint64_t memory_kills(void);
uint64_t memory_in_use(void);

/* Freezes or thaws the processes of the cgroup, and answers once they are. */
void take_hold(struct reader *payload);
/* True while the cgroup is frozen. */
extern int is_held;

#endif

/* Cgroup of the job's programs: limits, members, OOM kills, and freezing. */
#ifndef AGENT_GROUP_H
#define AGENT_GROUP_H
#include <stdint.h>
#include <sys/types.h>
#include "channel.h"

/* Folder of the initrd on which the boot mounts cgroup2; unreachable for programs. */
#define GROUPS_FOLDER "/groups"

/*
 * A cgroup that may have cgroups within it. Its processes are in a leaf of it: cgroup2 permits no processes in a cgroup whose
 * controllers are enabled for the cgroups below ("no internal processes").
 */
struct group {
  /* Folders of the cgroup and of its leaf; -1 without a cgroup. */
  int folder, leaf;
};

enum { GROUP_NAME_BYTES_MAX = 16, GROUPS_MAX = 1 + ZONES_MAX };

/* The job's cgroup, with a leaf for the runner. */
extern struct group job;

/* Makes a cgroup within another one, with the controllers of the job's. Returns 0, or an errno; nothing is left then. */
int make_group(const struct group *outer, const char *name, struct group *made);
/* Removes a cgroup without processes, and without cgroups in it besides its leaf. Returns 0 or an errno. */
int remove_group(const struct group *outer, const char *name, struct group *made);
/* Writes a file of a cgroup. Returns 0 or an errno. */
int write_group(const struct group *group, const char *name, const char *text);
/* Writes a number, and reads back the value that holds; "max" reads as 0. Returns 0 or an errno. */
int set_number(const struct group *group, const char *name, uint64_t value, uint64_t *holds);
/* Text of a file of a cgroup, until the next call; empty if it cannot be read. */
const char *read_group(const struct group *group, const char *name);

/*
 * Makes the job's cgroup, with the controllers that the kernel has, and provides the descriptor `group` to programs: a process that
 * writes "0" to it becomes a member. Without a cgroup it is /dev/null. Returns whether there is a descriptor.
 */
int open_group(void);
/* True if the memory controller is available. */
int counts_memory(void);
int counts_tasks(void);
/* True if cgroups within the job's can have limits of memory, tasks and CPU time, and be killed as a whole (Linux 5.14). */
int divides_job(void);
/*
 * Limits memory to `bytes` above the usage at the first call, and never raises the limit. Returns 0, or an errno: ENOSYS without a
 * memory controller. If usage is above a lowered limit the kernel reclaims memory, and then kills the processes.
 */
int limit_memory(uint64_t bytes);
/* Limits processes and threads, and never raises the limit. Returns 0, also without a pids controller, or an errno. */
int limit_tasks(uint64_t count);
/*
 * Calls `holds` for each member of the job, in all of its cgroups, until it returns an errno other than ESRCH (process gone). Returns
 * that errno, or 0.
 */
int for_members(int (*holds)(pid_t pid));
/* Descriptor of memory.events, for poll(2) with POLLPRI; -1 without a memory controller. */
int open_memory_events(void);
/* OOM kills, read from that descriptor. */
uint64_t kills_in(int events);
/*
 * Tasks that the limit of the job refused, tasks now, and the most so far; 0 without a pids controller. RLIMIT_NPROC refuses first, and
 * is not counted: the most is then the limit.
 */
uint64_t task_refusals(void);
uint32_t tasks_in_use(void);
uint32_t tasks_peak(void);
/* Number of OOM kills, and bytes in use; 0 without a cgroup. */
uint64_t memory_kills(void);
uint64_t memory_in_use(void);

/* Freezes or thaws the processes of the cgroup, and answers once they are. */
void take_hold(struct reader *payload);
/* True while the cgroup is frozen. */
extern int is_held;

#endif

/* Control group of the job's programs: its limit of memory, and whether the kernel enforced it. */
#ifndef AGENT_GROUP_H
#define AGENT_GROUP_H
#include <stdint.h>

/* Folder of the initrd on which the boot mounts the tree of groups: no program can name it. */
#define GROUPS_FOLDER "/groups"

/*
 * Makes the group, where the kernel has one for memory, and names the descriptor `group` for programs: a process that writes "0"
 * to it becomes a member. Without a group it is the null device. Returns whether there is a descriptor.
 */
int open_group(void);
/*
 * Limits memory to `bytes` above what was in use when this was first called, and never raises it. Returns 0, or an errno:
 * ENOSYS where there is no group. Above a limit that it lowers the kernel reclaims, and then ends the group's processes.
 */
int limit_memory(uint64_t bytes);
/* Times that the kernel ended processes of the group for its limit, and bytes in use; 0 where there is no group. */
uint64_t memory_kills(void);
uint64_t memory_in_use(void);

#endif

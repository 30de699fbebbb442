/* Passes descriptors to callers. */
#ifndef SENTINEL_GIVE_H
#define SENTINEL_GIVE_H
#include <stdint.h>

enum { PENDING_FDS_MAX = 64, FAILED_ATTEMPTS_MAX = 64, BLOCK_US_MAX = 2000 };

/* Pending descriptors, and consecutive failed attempts: a stopped wall is retried less often. */
extern int pending_fd_count, failed_attempts;

void set_interrupt_timer(int us);
void pass_descriptor(uint64_t id, int fd, int writes, int closes_on_exec);
void retry_pending_fd(void);
void recheck_pending_fds(void);

#endif

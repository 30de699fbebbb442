/* Opens of pipes, which may wait for their other end. */
#ifndef FOLDER_FIFOS_H
#define FOLDER_FIFOS_H
#include <linux/seccomp.h>
#include <stdint.h>

/* Opens the pipe of a descriptor anew, on behalf of the caller. Returns a descriptor, a negative errno, or PENDING (requests.h). */
int open_fifo(const struct seccomp_notif *request, int fd, uint64_t flags);
/* Answers the opens that no longer wait; at most once in FIFOS_MS. */
void check_fifos(void);
/* Milliseconds until check_fifos has work; -1 if no open waits. */
int fifo_wait_ms(void);

#endif

/* Seccomp user notifications. */
#ifndef FOLDER_REQUESTS_H
#define FOLDER_REQUESTS_H
#include <stdint.h>

/* Result of a call that is answered later; outside of the range of errnos. */
enum { PENDING = -100000 };

/* Returns `value` from the caller's system call, or fails it with `error`, a negative errno. NEEDS_TURN (turn.h) is not sent: the
 * call is performed again, from its start, once this wall has the turn. */
void send_answer(uint64_t id, int64_t value, int error);
/* Returns a copy of a descriptor from the caller's open, whose flags these are. */
void send_descriptor(uint64_t id, int fd, uint64_t flags);
/* Receives one notification, and performs its call. */
void answer_next(void);

#endif

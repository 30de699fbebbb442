/* Seccomp user notifications. */
#ifndef FOLDER_REQUESTS_H
#define FOLDER_REQUESTS_H
#include <stdint.h>

/* Returns `value` from the caller's system call, or fails it with `error`, a negative errno. NEEDS_TURN (turn.h) is not sent: the
 * call is performed again, from its start, once this wall has the turn. */
void send_answer(uint64_t id, int64_t value, int error);
/* Receives one notification, and performs its call. */
void answer_next(void);

#endif

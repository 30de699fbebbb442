/* Signals of callers that wait for an answer. */
#ifndef FOLDER_INTERRUPTS_H
#define FOLDER_INTERRUPTS_H
#include <stdint.h>
#include <sys/types.h>

/* Error that ends a call whose caller has a signal to take, a negative errno; 0 if it has none. `was_signalled` is kept from one look to
 * the next, and begins with 0. */
int interruption(pid_t caller, int *was_signalled);
int64_t now_ms(void);

#endif

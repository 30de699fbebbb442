/* Notifications of the asking filter. */
#ifndef EXEC_REQUESTS_H
#define EXEC_REQUESTS_H
#include <stdint.h>

void send_answer(uint64_t id, int64_t value, int error);
/* Receives one request and answers it. */
void answer_next(void);

#endif

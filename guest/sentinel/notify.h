/* Requests of the filter, and their answers. */
#ifndef SENTINEL_NOTIFY_H
#define SENTINEL_NOTIFY_H
#include <stdint.h>
#include <sys/types.h>

struct seccomp_notif;

/* Requests that are received and not answered. */
extern int received_count;
int is_received(pid_t tid);

void send_answer(uint64_t id, int64_t value, int error, uint32_t flags);
void continue_call(const struct seccomp_notif *request);
void receive_all(void);
void answer_one(void);

#endif

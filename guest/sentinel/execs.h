/* Pending execs. */
#ifndef SENTINEL_EXECS_H
#define SENTINEL_EXECS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct seccomp_notif;

/* Number of execs that wait for the warden. */
extern int exec_count;
int is_pending_exec(pid_t tid);

void expire_execs(void);
void report_exec(const struct seccomp_notif *request, int is_denied);
void defer_exec(const struct seccomp_notif *request);
int answer_pending_exec(const uint8_t *at, size_t bytes);

#endif

/* New processes and threads of a kept wall. */
#ifndef SENTINEL_FORKS_H
#define SENTINEL_FORKS_H
#include <stddef.h>
#include <stdint.h>

struct seccomp_notif;

int is_fork(int call);
void answer_fork(const struct seccomp_notif *request);
int lower_task_limit(const uint8_t *at, size_t bytes);

#endif

/* Connects and binds, made here. */
#ifndef SENTINEL_CONNECTS_H
#define SENTINEL_CONNECTS_H

struct seccomp_notif;

/* Connects that would block. */
extern int pending_connect_count;

void retry_connects(void);
void answer_connect(const struct seccomp_notif *request);
void answer_bind(const struct seccomp_notif *request);

#endif

/* Connects and binds, made here. */
#ifndef SENTINEL_CONNECTS_H
#define SENTINEL_CONNECTS_H

struct seccomp_notif;

/* Connects that would block. */
extern int waiting_count;

void try_waiting(void);
void answer_connect(const struct seccomp_notif *asked);
void answer_bind(const struct seccomp_notif *asked);

#endif

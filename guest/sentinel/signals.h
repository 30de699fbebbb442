/* Signals among the processes of a kept wall, sent here. */
#ifndef SENTINEL_SIGNALS_H
#define SENTINEL_SIGNALS_H

struct seccomp_notif;

int is_signal(int call);
void answer_signal(const struct seccomp_notif *request);

#endif

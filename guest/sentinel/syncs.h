/* Answers to fsync and fdatasync. */
#ifndef SENTINEL_SYNCS_H
#define SENTINEL_SYNCS_H

struct seccomp_notif;

void answer_sync(const struct seccomp_notif *request);

#endif

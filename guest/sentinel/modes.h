/* Modes and times of files, set here for a kept wall whose user has other files. */
#ifndef SENTINEL_MODES_H
#define SENTINEL_MODES_H

struct seccomp_notif;

int is_mode(int call);
void answer_mode(const struct seccomp_notif *request);

#endif

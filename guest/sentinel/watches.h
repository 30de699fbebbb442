/* Watches on files (inotify), added on behalf of the caller. */
#ifndef SENTINEL_WATCHES_H
#define SENTINEL_WATCHES_H

struct seccomp_notif;

void answer_watch(const struct seccomp_notif *request);

#endif

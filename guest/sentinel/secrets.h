/* Reads of planted secrets. */
#ifndef SENTINEL_SECRETS_H
#define SENTINEL_SECRETS_H

/* Watched paths, those without a file yet, and the inotify descriptor, or -1. */
extern int watched_count, unwatched_count, watch_fd;

void watch_once_created(const char *real);
void add_pending_watches(void);
void read_watch_events(void);
int open_count_of_watched(void);

#endif

/* Reads of planted secrets. */
#ifndef SENTINEL_SECRETS_H
#define SENTINEL_SECRETS_H

/* Places that are watched, those of them without a file yet, and the descriptor of inotify; -1 if there is none. */
extern int watched_count, unwatched_count, watch_fd;

void watch_soon(const char *real);
void begin_watching(void);
void look_at_watched(void);
int watched_open(void);

#endif

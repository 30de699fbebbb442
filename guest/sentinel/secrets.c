/*
 * Secrets in the wall, watched by inode.
 *
 * Problem: the kernel reads a path again after its report, and another thread may have changed it; a hard link or a
 * descriptor that was passed on has no path at all. A read of a planted secret must be detected under every name.
 *
 * Mechanism: a file at a secret's path is watched by inotify from its observed creation on; the path is looked up a bounded
 * number of times until the file exists. A read, or an open that lasts longer than a writer's, is reported with the first
 * name, and attributed to the wall's first process.
 *
 * Relies on: inotify(7) (Linux 2.6.13) on a path below /proc/self/fd, which watches the inode and not the name.
 *
 * Not handled: the reading process, which inotify does not report; a file that is mapped and closed within half a second by a process
 * that opened it for writing.
 */
#define _GNU_SOURCE
#include "secrets.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "paths.h"
#include "reports.h"
#include "wall.h"

enum {
  WATCHED_MAX = 32,
  /* Attempts to find a file that is about to be created. */
  TRIES_MAX = 200,
  /* An open without a close for longer counts as a read (mmap); writers close sooner. */
  OPEN_MS_MAX = 500,
};

static struct {
  char path[PATH_BYTES_MAX];
  int wd, tries, opens;
  uint64_t since;
} watched[WATCHED_MAX];
int watched_count, unwatched_count, watch_fd = -1;

/* Registers the name before the file exists. */
void watch_once_created(const char *real) {
  for (int i = 0; i < watched_count; i++)
    if (!strcmp(watched[i].path, real)) return;
  if (watched_count == WATCHED_MAX) {
    wall.dropped_reports++;
    return;
  }
  if (watch_fd < 0) watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (watch_fd < 0) return;
  snprintf(watched[watched_count].path, sizeof watched->path, "%s", real);
  watched[watched_count].wd = -1;
  watched[watched_count].tries = watched[watched_count].opens = 0;
  watched_count++;
  unwatched_count++;
}

static void drop_watched(int i) {
  if (watched[i].wd < 0) unwatched_count--;
  watched[i] = watched[--watched_count];
}

void add_pending_watches(void) {
  for (int i = watched_count - 1; i >= 0 && unwatched_count > 0; i--) {
    if (watched[i].wd >= 0) continue;
    char name[64];
    int fd = open_below(wall.root, watched[i].path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (fd < 0) {
      if (++watched[i].tries >= TRIES_MAX) drop_watched(i);
      continue;
    }
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(watch_fd, name, IN_OPEN | IN_ACCESS | IN_CLOSE);
    close(fd);
    if (wd < 0) {
      drop_watched(i);
      continue;
    }
    watched[i].wd = wd;
    unwatched_count--;
  }
}

static void report_read(int i) {
  watched[i].opens = 0;
  uint64_t hash = hash_of(watched[i].path, 0);
  if (!is_reported(hash) && report(wall.first_pid, SYS_openat, OUTSIDE, 0, 0, watched[i].path)) mark_reported(hash);
}

static void handle_event(const struct inotify_event *seen) {
  int i = 0;
  if (seen->mask & IN_Q_OVERFLOW) wall.dropped_reports++;
  while (i < watched_count && watched[i].wd != seen->wd) i++;
  if (i == watched_count || watched[i].wd < 0) return;
  if (seen->mask & (IN_ACCESS | IN_CLOSE_NOWRITE)) report_read(i);
  if (seen->mask & IN_OPEN && watched[i].opens++ == 0) watched[i].since = now_ns();
  if (seen->mask & IN_CLOSE_WRITE && watched[i].opens > 0) watched[i].opens--;
  if (seen->mask & IN_IGNORED) drop_watched(i);
}

/* Also detects a process that maps the file and never closes it. */
void read_watch_events(void) {
  char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
  ssize_t n;
  if (watch_fd < 0) return;
  while ((n = read(watch_fd, events, sizeof events)) > 0)
    for (ssize_t at = 0; at < n;) {
      const struct inotify_event *seen = (const struct inotify_event *)(events + at);
      handle_event(seen);
      at += (ssize_t)(sizeof *seen + seen->len);
    }
  for (int i = 0; i < watched_count; i++)
    if (watched[i].opens > 0 && now_ns() - watched[i].since > OPEN_MS_MAX * 1000000ull) report_read(i);
}

int open_count_of_watched(void) {
  int opens = 0;
  for (int i = 0; i < watched_count; i++) opens += watched[i].opens;
  return opens;
}

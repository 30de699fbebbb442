/*
 * Modes and times of files, for a kept wall that shares its user with others.
 *
 * Problem: Landlock does not restrict chmod(2) and utimensat(2). A wall that shares the host's root and its user could change
 * the mode of any file of that user.
 *
 * Mechanism: the file is opened here with O_PATH, checked to be below the scratch folder, and changed through that
 * descriptor. Anything else fails with EPERM.
 *
 * Relies on: chmod(2) and utimensat(2) on /proc/self/fd, which lead to the inode; AT_EMPTY_PATH of utimensat (Linux 5.8),
 * for links.
 *
 * Not handled: chown(2), which the fixed filter refuses.
 */
#define _GNU_SOURCE
#include "modes.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>
#include "caller.h"
#include "notify.h"
#include "paths.h"
#include "reports.h"
#include "wall.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* Arguments of the call: a folder and a path, or a descriptor (`path` is 0), and the new mode or times. */
struct change {
  int folder, flags, is_mode;
  uint64_t path, mode, times;
  /* Unit of the times: struct utimbuf, timeval or timespec. */
  enum { SECONDS, MICROSECONDS, NANOSECONDS } unit;
};

int is_mode(int call) {
  switch (call) {
#ifdef SYS_chmod
    case SYS_chmod:
    case SYS_utime:
    case SYS_utimes:
    case SYS_futimesat:
#endif
    case SYS_fchmod:
    case SYS_fchmodat:
    case SYS_fchmodat2:
    case SYS_utimensat:
      return 1;
    default:
      return 0;
  }
}

static struct change change_of(const struct seccomp_notif *request) {
  const __u64 *a = request->data.args;
  struct change c = {.folder = AT_FDCWD};
  switch (request->data.nr) {
#ifdef SYS_chmod
    case SYS_chmod:
      c.path = a[0], c.mode = a[1], c.is_mode = 1;
      break;
    case SYS_utime:
      c.path = a[0], c.times = a[1], c.unit = SECONDS;
      break;
    case SYS_utimes:
      c.path = a[0], c.times = a[1], c.unit = MICROSECONDS;
      break;
    case SYS_futimesat:
      c.folder = (int)a[0], c.path = a[1], c.times = a[2], c.unit = MICROSECONDS;
      break;
#endif
    case SYS_fchmod:
      c.folder = (int)a[0], c.mode = a[1], c.is_mode = 1;
      break;
    case SYS_fchmodat:
    case SYS_fchmodat2:
      c.folder = (int)a[0], c.path = a[1], c.mode = a[2], c.is_mode = 1;
      c.flags = request->data.nr == SYS_fchmodat2 ? (int)a[3] : 0;
      break;
    default:
      c.folder = (int)a[0], c.path = a[1], c.times = a[2], c.flags = (int)a[3], c.unit = NANOSECONDS;
  }
  return c;
}

/* Converts the times for utimensat(2); the current time for a null pointer. */
static int read_times(pid_t pid, const struct change *c, struct timespec to[2]) {
  union {
    struct utimbuf seconds;
    struct timeval micro[2];
    struct timespec nano[2];
  } from;
  to[0].tv_nsec = to[1].tv_nsec = UTIME_NOW;
  to[0].tv_sec = to[1].tv_sec = 0;
  if (!c->times) return 0;
  size_t bytes = c->unit == SECONDS ? sizeof from.seconds : c->unit == MICROSECONDS ? sizeof from.micro : sizeof from.nano;
  if (read_bytes(pid, c->times, &from, bytes)) return -EFAULT;
  for (int i = 0; i < 2; i++) {
    if (c->unit == NANOSECONDS) to[i] = from.nano[i];
    else if (c->unit == SECONDS) to[i] = (struct timespec){i ? from.seconds.modtime : from.seconds.actime, 0};
    else to[i] = (struct timespec){from.micro[i].tv_sec, from.micro[i].tv_usec * 1000};
  }
  return 0;
}

static int open_target(const struct seccomp_notif *request, const struct change *c) {
  char path[PATH_BYTES_MAX], whole[PATH_BYTES_MAX * 2];
  pid_t pid = (pid_t)request->pid;
  if (!c->path) return open_descriptor(pid, c->folder);
  int failed = read_text(pid, c->path, path, sizeof path);
  if (failed) return failed;
  if (!path[0] && c->flags & AT_EMPTY_PATH) return open_descriptor(pid, c->folder);
  failed = absolute_path(pid, c->folder, path, whole, sizeof whole);
  if (failed) return failed;
  uint64_t how = O_PATH | O_CLOEXEC | (c->flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0);
  return open_below(wall.root, whole, how, 0, RESOLVE_IN_ROOT);
}

static int apply_change(const struct seccomp_notif *request, const struct change *c, int path_fd) {
  char name[64];
  struct stat facts;
  struct timespec times[2];
  if (!is_below_scratch_path(path_fd)) return -EPERM;
  if (!(wall.allowed & 1 << WRITE)) return -wall.errors[WRITE];
  snprintf(name, sizeof name, "/proc/self/fd/%d", path_fd);
  int failed = c->is_mode ? 0 : read_times((pid_t)request->pid, c, times);
  if (failed || fstat(path_fd, &facts)) return failed ? failed : -EACCES;
  if (!is_request_valid(request->id)) return -ENOENT;
  int read_link = S_ISLNK(facts.st_mode);
  if (c->is_mode) return read_link ? -EOPNOTSUPP : fchmodat(AT_FDCWD, name, c->mode & 07777, 0) ? -errno : 0;
  if (read_link) return utimensat(path_fd, "", times, AT_EMPTY_PATH) ? -errno : 0;
  return utimensat(AT_FDCWD, name, times, 0) ? -errno : 0;
}

void answer_mode(const struct seccomp_notif *request) {
  struct change c = change_of(request);
  int path_fd = open_target(request, &c);
  int failed = path_fd < 0 ? path_fd : apply_change(request, &c, path_fd);
  if (path_fd >= 0) close(path_fd);
  if (failed == -wall.errors[WRITE] && !(wall.allowed & 1 << WRITE)) {
    wall.denied++;
    report((pid_t)request->pid, request->data.nr, WRITE, 1, 1, NULL);
  }
  send_answer(request->id, 0, failed, 0);
}

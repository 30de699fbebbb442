/*
 * Watches on files: inotify_add_watch is performed here, only below the wall's own scratch.
 *
 * Problem: a watch on a shared folder reveals the files that other walls and the host open in it, and another thread can
 * redirect a path there after it was checked (TOCTOU). An inotify instance may be closed, duplicated, inherited, or in
 * flight in a socket, so watches cannot be counted from the observed calls.
 *
 * Mechanism: the caller's instance is copied (pidfd_getfd), the path opened below the wall's root without magic links
 * (O_PATH), and its file judged by fstat: a scratch file system, or ENOSYS. The watch is added to the opened file, by its
 * descriptor: the instance, with its queue and its charge to the wall's cgroup and user, remains the caller's. The kernel
 * checks read permission for this uid, which is the caller's.
 *
 * Each instance with watches is registered in its own epoll, which does not keep it alive: the entry disappears with the
 * last descriptor of the instance, in any process. A dead instance is therefore an epoll whose fdinfo has no entry. Entries
 * are keyed by file and descriptor number, so the copy always gets the same number. Watches of an instance are only counted
 * upwards; at the limit of the wall they are counted exactly, by its fdinfo.
 *
 * Relies on: pidfd_getfd(2), openat2(2), inotify(7) on a path below /proc/self/fd, which leads to the inode; epoll(7),
 * "Will closing a file descriptor cause it to be removed from all epoll interest lists?"; fdinfo of both in proc(5).
 *
 * Not handled: watches that other live instances have removed are counted until these add one.
 */
#define _GNU_SOURCE
#include "watches.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include "caller.h"
#include "notify.h"
#include "opens.h"
#include "paths.h"
#include "wall.h"

enum { INSTANCES_MAX = 16, WATCHES_MAX = 1024 };

static struct {
  int epoll, watches;
} instances[INSTANCES_MAX];
static int instance_count;

/* Number of the copy; a placeholder descriptor reserves it in between. */
static int copy_fd = -1, placeholder_fd = -1;

/* Lines of /proc/self/fdinfo/FD that begin with `word`; -1 if it cannot be read. */
static int lines_with(int fd, const char *word) {
  char name[64], text[4096];
  snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
  int info = open(name, O_RDONLY | O_CLOEXEC), count = 0;
  size_t at = 0, length = strlen(word);
  ssize_t n = -1;
  while (info >= 0 && (n = read(info, text, sizeof text)) > 0)
    for (ssize_t i = 0; i < n; i++) {
      if (text[i] == '\n') at = 0;
      else if (at < length && text[i] == word[at]) count += ++at == length;
      else at = length + 1;
    }
  if (info >= 0) close(info);
  return n < 0 ? -1 : count;
}

static int is_inotify(int fd) {
  char name[64], target[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(name, target, sizeof target - 1);
  target[n > 0 ? n : 0] = 0;
  return !strcmp(target, "anon_inode:inotify");
}

/* An instance that cannot be read counts as alive. */
static int is_dead(int i) { return lines_with(instances[i].epoll, "tfd:") == 0; }

/* Index of the copied instance; -ENOSPC at the limit of instances with watches. */
static int index_of_copy(void) {
  struct epoll_event none = {0};
  for (int i = 0; i < instance_count; i++)
    if (epoll_ctl(instances[i].epoll, EPOLL_CTL_MOD, copy_fd, &none) == 0) return i;
  int index = 0;
  while (index < instance_count && !is_dead(index)) index++;
  if (index == INSTANCES_MAX) return -ENOSPC;
  if (index == instance_count) {
    if ((instances[index].epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) return -ENOMEM;
    instance_count++;
  }
  instances[index].watches = 0;
  return epoll_ctl(instances[index].epoll, EPOLL_CTL_ADD, copy_fd, &none) ? -ENOSPC : index;
}

static int total_watches(void) {
  int all = 0;
  for (int i = 0; i < instance_count; i++) all += instances[i].watches;
  return all;
}

/* True if one more watch is within the limit of the wall. */
static int is_below_limit(int own) {
  if (total_watches() < WATCHES_MAX) return 1;
  int exact = lines_with(copy_fd, "inotify ");
  if (exact >= 0) instances[own].watches = exact;
  for (int i = 0; i < instance_count; i++)
    if (i != own && is_dead(i)) instances[i].watches = 0;
  return total_watches() < WATCHES_MAX;
}

/* Adds a watch to the file; returns its number or a negative errno. */
static int watch_file(int path_fd, uint32_t mask) {
  struct stat facts;
  char name[64];
  if (fstat(path_fd, &facts)) return -EACCES;
  if (!is_scratch(&facts)) return -ENOSYS;
  int own = index_of_copy();
  if (own < 0) return own;
  if (!is_below_limit(own)) return -ENOSPC;
  snprintf(name, sizeof name, "/proc/self/fd/%d", path_fd);
  int number = inotify_add_watch(copy_fd, name, mask & ~(uint32_t)IN_DONT_FOLLOW);
  if (number < 0) return -errno;
  instances[own].watches++;
  return number;
}

static int watch_path(pid_t pid, const char *path, uint32_t mask) {
  char whole[PATH_BYTES_MAX * 2];
  uint64_t how = O_PATH | O_CLOEXEC;
  if (mask & IN_DONT_FOLLOW) how |= O_NOFOLLOW;
  if (mask & IN_ONLYDIR) how |= O_DIRECTORY;
  int failed = absolute_path(pid, AT_FDCWD, path, whole, sizeof whole);
  int path_fd = failed ? failed : open_below(wall.root, whole, how, 0, RESOLVE_IN_ROOT);
  /* ELOOP: a magic link, whose target is not below any folder. */
  if (path_fd < 0) return path_fd == -ELOOP ? -ENOSYS : path_fd;
  int number = watch_file(path_fd, mask);
  close(path_fd);
  return number;
}

/* Copies the caller's instance to copy_fd. */
static int copy_instance(pid_t pid, int number) {
  if (placeholder_fd < 0) placeholder_fd = epoll_create1(EPOLL_CLOEXEC);
  if (copy_fd < 0) copy_fd = fcntl(placeholder_fd, F_DUPFD_CLOEXEC, 0);
  if (copy_fd < 0) return -ENOMEM;
  int fd = copy_descriptor(pid, number);
  if (fd < 0) return fd;
  int failed = !is_inotify(fd) ? -EINVAL : dup3(fd, copy_fd, O_CLOEXEC) < 0 ? -EMFILE : 0;
  close_copy(fd);
  return failed;
}

void answer_watch(const struct seccomp_notif *request) {
  const __u64 *args = request->data.args;
  pid_t pid = (pid_t)request->pid;
  char path[PATH_BYTES_MAX];
  int failed = read_text(pid, args[1], path, sizeof path), number = failed;
  if (!failed) number = copy_instance(pid, (int)args[0]);
  if (!is_request_valid(request->id)) number = -ESRCH;
  if (number == 0) number = watch_path(pid, path, (uint32_t)args[2]);
  dup3(placeholder_fd, copy_fd, O_CLOEXEC);
  send_answer(request->id, number < 0 ? 0 : number, number < 0 ? number : 0, 0);
}

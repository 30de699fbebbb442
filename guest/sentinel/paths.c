/*
 * Paths as the wall sees them: in its own root, from a caller's working folder.
 *
 * Problem: the sentinel is in other namespaces. A path of the wall refers to another file here, and a symbolic link may lead
 * out of the wall.
 *
 * Mechanism: a path is made absolute in the wall's root, with /proc/self replaced by its number, and opened below the
 * descriptor of that root (RESOLVE_IN_ROOT). Magic links are never followed by the kernel (RESOLVE_NO_MAGICLINKS): they
 * would be those of the sentinel. For reports alone, a path is also resolved step by step in user space, with bounds for
 * links and steps beyond which it is reported as written.
 *
 * Relies on: openat2(2) (Linux 5.6), path_resolution(7), the links in /proc/PID/fd and /proc/PID/cwd of proc(5).
 *
 * Not handled: a path that changes after it was resolved. Decisions are made on the descriptor.
 */
#define _GNU_SOURCE
#include "paths.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "caller.h"
#include "wall.h"

enum { LINKS_MAX = 16, STEPS_MAX = 128 };

int link_to(const char *name, char *to, size_t room) {
  ssize_t n = readlink(name, to, room - 1);
  if (n <= 0 || (size_t)n >= room - 1 || to[0] != '/') return -EACCES;
  to[n] = 0;
  return 0;
}

/* Base of the caller's relative paths, as a path in its own root. */
static int folder_of(pid_t pid, int folder, char *to, size_t room) {
  char name[64];
  if (folder == AT_FDCWD) {
    snprintf(name, sizeof name, "/proc/%d/cwd", pid);
    return link_to(name, to, room);
  }
  int fd = wall.is_kept ? open_descriptor(pid, folder) : copy_descriptor(pid, folder);
  if (fd < 0) return fd;
  struct stat facts;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  int failed = fstat(fd, &facts) || !S_ISDIR(facts.st_mode) ? -ENOTDIR : link_to(name, to, room);
  close_copy(fd);
  return failed;
}

/* Translates /proc/self and /proc/thread-self into numeric paths: the sentinel is in another PID namespace. */
static const char *skip_proc_self(pid_t pid, const char *path, char *to, size_t room) {
  static const char own[] = "/proc/self", thread[] = "/proc/thread-self";
  size_t length = !strncmp(path, own, sizeof own - 1) ? sizeof own - 1 : sizeof thread - 1;
  int is_thread = length == sizeof thread - 1;
  if (strncmp(path, is_thread ? thread : own, length) || (path[length] && path[length] != '/')) return path;
  long group = status_of(pid, "\nNStgid:", 10, 1), tid = status_of(pid, "\nNSpid:", 10, 1);
  if (is_thread) snprintf(to, room, "/proc/%ld/task/%ld", group, tid);
  else snprintf(to, room, "/proc/%ld", group);
  return path + length;
}

int absolute_path(pid_t pid, int folder, const char *path, char *to, size_t room) {
  if (!*path) return -ENOENT;
  to[0] = 0;
  int failed = *path == '/' ? 0 : folder_of(pid, folder, to, room);
  if (failed) return failed;
  if (*path == '/') path = skip_proc_self(pid, path, to, room);
  size_t have = strlen(to);
  if (have + strlen(path) + 2 > room) return -ENAMETOOLONG;
  if (have && *path) to[have++] = '/';
  strcpy(to + have, path);
  return 0;
}

int open_below(int folder, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
  int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
  return fd < 0 ? -errno : fd;
}

/* True if an open file is below the writable folder of a kept wall. Landlock prevents moving files out of it. */
int is_below_scratch_path(int fd) {
  char name[64], real[PATH_BYTES_MAX];
  size_t length = strlen(wall.scratch_path);
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  if (link_to(name, real, sizeof real) || strncmp(real, wall.scratch_path, length)) return 0;
  return real[length] == '/' || real[length] == 0;
}

/* Target of a symlink, NUL-terminated; guest bytes. */
static int read_link(int fd, char *to, size_t room) {
  struct stat facts;
  if (fstat(fd, &facts) || !S_ISLNK(facts.st_mode)) return 0;
  ssize_t n = readlinkat(fd, "", to, room - 1);
  if (n <= 0 || (size_t)n >= room - 1) return 0;
  to[n] = 0;
  struct statfs system;
  /* A magic link to an unnamed object, such as a pipe. */
  return *to == '/' || fstatfs(fd, &system) || system.f_type != PROC_SUPER_MAGIC || !strchr(to, ':');
}

/* Resolves a path step by step, including magic links and /proc/self, as far as it exists. For reports only. */
static void resolve_for_report(pid_t pid, const char *path, char *done, size_t room) {
  char rest[PATH_BYTES_MAX * 2], next[PATH_BYTES_MAX * 2], name[256];
  size_t have = 0, at = 0;
  int links = 0, steps = 0, is_there = 1;
  if (snprintf(rest, sizeof rest, "%s", path) >= (int)sizeof rest) rest[0] = 0;
  done[0] = 0;
  for (;;) {
    at += strspn(rest + at, "/");
    size_t length = strcspn(rest + at, "/");
    if (!length) break;
    if (length == 1 && rest[at] == '.') { at += length; continue; }
    if (length == 2 && rest[at] == '.' && rest[at + 1] == '.') {
      char *up = strrchr(done, '/');
      if (up) *up = 0, have = (size_t)(up - done);
      at += length;
      continue;
    }
    if (length >= sizeof name || have + length + 64 >= room) break;
    memcpy(name, rest + at, length);
    name[length] = 0;
    at += length;
    int is_self = !strcmp(done, "/proc") && (!strcmp(name, "self") || !strcmp(name, "thread-self"));
    size_t before = have;
    if (is_self) {
      skip_proc_self(pid, *name == 's' ? "/proc/self" : "/proc/thread-self", done, room);
      have = strlen(done);
    } else {
      have += (size_t)snprintf(done + have, room - have, "/%s", name);
    }
    if (!is_there || ++steps > STEPS_MAX) continue;
    int fd = open_below(wall.root, done, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (fd < 0) {
      is_there = 0;
      continue;
    }
    char to[PATH_BYTES_MAX];
    int leads = read_link(fd, to, sizeof to);
    close(fd);
    if (!leads) continue;
    if (++links > LINKS_MAX || snprintf(next, sizeof next, "%s/%s", to, rest + at) >= (int)sizeof next) break;
    strcpy(rest, next);
    at = 0;
    have = *to == '/' ? 0 : before;
    done[have] = 0;
  }
  if (!done[0]) strcpy(done, "/");
}

/* Canonical path in the wall's own root: of the file, else of its parent folder. For an exec the last component
 * stays, since one file may be many programs (busybox). For reports only: a concurrent change of links makes it
 * stale. */
void real_path(pid_t pid, int folder, const char *path, int is_exec, char *to, size_t room) {
  char whole[PATH_BYTES_MAX * 2], name[64];
  if (absolute_path(pid, folder, path, whole, sizeof whole)) {
    snprintf(to, room, "%s", path);
    return;
  }
  int fd = is_exec ? -ENOENT : open_below(wall.root, whole, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
  if (fd >= 0) {
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int failed = link_to(name, to, room);
    close(fd);
    if (!failed) return;
  }
  char *slash = strrchr(whole, '/');
  int is_plain = fd == -ENOENT && slash > whole && slash[1] && strcmp(slash + 1, ".") && strcmp(slash + 1, "..");
  if (is_plain) {
    *slash = 0;
    fd = open_below(wall.root, whole, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    *slash = '/';
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    /* A dangling symlink is a link too. */
    int other = fd < 0 || is_exec ? -1 : open_below(fd, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_BENEATH);
    int failed = fd < 0 || other >= 0 || link_to(name, to, room);
    if (other >= 0) close(other);
    if (fd >= 0) close(fd);
    size_t have = failed ? 0 : strlen(to);
    if (!failed && have + strlen(slash) + 1 < room) {
      strcpy(to + (have == 1 ? 0 : have), slash);
      return;
    }
  }
  resolve_for_report(pid, whole, to, room);
}

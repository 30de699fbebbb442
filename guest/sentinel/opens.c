/*
 * Brokered opens: a file is opened here, judged, and its descriptor put into the caller.
 *
 * Problem: a class that depends on a path or its file cannot be decided by the arguments of the call: the kernel would read
 * the path again after the answer, and another thread may change it in between (TOCTOU).
 *
 * Mechanism: once writing or the outside is closed, the path is copied and resolved below the wall's root without opening
 * the file (O_PATH). The file is judged by fstat: scratch file systems and devices that store nothing are inside, the rest
 * is outside. It is opened through that descriptor, judged again, and passed to the caller. A new file is created in a
 * folder that was judged, with the umask of the caller. While both classes are open the kernel does all this, and paths are
 * only reported.
 *
 * Relies on: openat2(2) (Linux 5.6), open(2) on O_PATH and /proc/self/fd, umask(2).
 *
 * Not handled: `resolve` flags of openat2 once a class is closed (ENOSYS, so that callers take openat); opens by name of
 * devices other than null, zero, full, random and urandom (EACCES); handles (open_by_handle_at), which the fixed filter
 * refuses.
 */
#define _GNU_SOURCE
#include "opens.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <string.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "caller.h"
#include "give.h"
#include "notify.h"
#include "paths.h"
#include "reports.h"
#include "secrets.h"
#include "wall.h"

static const uint64_t open_flags_known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK |
                                         O_DSYNC | O_SYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |
                                         O_CLOEXEC | O_PATH | O_TMPFILE;

static int flags_write(uint64_t flags) {
  if (flags & O_PATH) return 0;
  return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE;
}

/* null, zero, full, random, urandom: they store no data. */
static int is_harmless_device(const struct stat *facts) {
  if (!S_ISCHR(facts->st_mode) || major(facts->st_rdev) != 1) return 0;
  unsigned int which = minor(facts->st_rdev);
  return which == 3 || which == 5 || which == 7 || which == 8 || which == 9;
}

int is_scratch(const struct stat *facts) {
  if (wall.is_kept) return 0;
  for (int i = 0; i < wall.scratch_count; i++)
    if (wall.scratch[i] == facts->st_dev) return 1;
  return 0;
}

/* Judges the opened file by fstat, not by name: a name may change before it is resolved (TOCTOU). */
int check_file(int fd, int writes) {
  struct stat facts;
  if (fstat(fd, &facts)) return -EACCES;
  if (is_harmless_device(&facts)) return 0;
  if (writes && !(wall.allowed & 1 << WRITE)) return -wall.errors[WRITE];
  if (wall.is_kept) {
    /* This process is not restricted by Landlock, so it opens only scratch files for a wall that shares the host's root. */
    if (!is_below_scratch_path(fd)) return wall.allowed & 1 << OUTSIDE ? -EACCES : -wall.errors[OUTSIDE];
  } else if (!(wall.allowed & 1 << OUTSIDE) && !is_scratch(&facts)) {
    return -wall.errors[OUTSIDE];
  }
  return 0;
}

static int open_new(pid_t pid, char *path, uint64_t flags, uint64_t mode) {
  char *slash = strrchr(path, '/');
  const char *name = slash + 1;
  if (!*name || !strcmp(name, ".") || !strcmp(name, "..")) return -EISDIR;
  char first[2] = "/";
  if (slash != path) *slash = 0;
  int folder = open_below(wall.root, slash == path ? first : path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
  if (folder < 0) return folder;
  int fd = check_file(folder, 1);
  if (fd == 0) {
    umask((mode_t)status_of(pid, "\nUmask:", 8, 0) & 0777);
    fd = open_below(folder, name, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode & 07777,
                    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  }
  close(folder);
  return fd;
}

static int open_existing(int path_fd, uint64_t flags, uint64_t mode) {
  struct stat facts;
  if (fstat(path_fd, &facts)) return -EACCES;
  if (S_ISLNK(facts.st_mode) && !(flags & O_PATH)) return -ELOOP;
  int writes = flags_write(flags), failed = check_file(path_fd, writes);
  if (failed) return failed;
  if ((flags & O_CREAT) && (flags & O_EXCL) && (flags & O_TMPFILE) != O_TMPFILE) return -EEXIST;
  if (flags & O_PATH) return fcntl(path_fd, F_DUPFD_CLOEXEC, 0);
  /* Opening a socket fails, and opening another device may have side effects. */
  if (S_ISBLK(facts.st_mode) || (S_ISCHR(facts.st_mode) && !is_harmless_device(&facts))) return -EACCES;
  if (S_ISDIR(facts.st_mode) && (flags & O_CREAT)) return -EISDIR;
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", path_fd);
  uint64_t again = flags & ~(uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW);
  int fd = open(name, (int)(again | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), (mode_t)mode & 07777);
  return fd < 0 ? -errno : fd;
}

static int open_for(pid_t pid, int folder, const char *path, uint64_t flags, uint64_t mode) {
  char whole[PATH_BYTES_MAX * 2];
  int failed = absolute_path(pid, folder, path, whole, sizeof whole);
  if (failed) return failed;
  flags &= open_flags_known;
  uint64_t how = O_PATH | O_CLOEXEC | (flags & (O_NOFOLLOW | O_DIRECTORY));
  if ((flags & O_CREAT) && (flags & O_EXCL)) how |= O_NOFOLLOW;
  int path_fd = open_below(wall.root, whole, how, 0, RESOLVE_IN_ROOT), fd;
  if (path_fd == -ENOENT && (flags & O_CREAT) && !(flags & O_PATH)) {
    fd = open_new(pid, whole, flags, mode);
  } else if (path_fd < 0) {
    return path_fd;
  } else {
    fd = open_existing(path_fd, flags, mode);
    close(path_fd);
  }
  if (fd < 0) return fd;
  failed = check_file(fd, flags_write(flags));
  if (!failed && !(flags & (O_NONBLOCK | O_PATH))) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  if (failed) close(fd);
  return failed ? failed : fd;
}

/* Arguments of an open by any of its calls; 0 if unreadable. */
static int open_arguments(const struct seccomp_notif *request, int *folder, uint64_t *path, struct open_how *how) {
  const __u64 *args = request->data.args;
  memset(how, 0, sizeof *how);
  *folder = AT_FDCWD;
  switch (request->data.nr) {
#ifdef SYS_open
    case SYS_open:
      *path = args[0], how->flags = (uint32_t)args[1], how->mode = args[2];
      return 1;
    case SYS_creat:
      *path = args[0], how->flags = O_CREAT | O_WRONLY | O_TRUNC, how->mode = args[1];
      return 1;
#endif
    case SYS_openat:
      *folder = (int)args[0], *path = args[1], how->flags = (uint32_t)args[2], how->mode = args[3];
      return 1;
    case SYS_openat2:
      *folder = (int)args[0], *path = args[1];
      return args[3] >= sizeof *how && read_bytes((pid_t)request->pid, args[2], how, sizeof *how) == 0;
    default:
      return 0;
  }
}

int is_open(int call) {
#ifdef SYS_open
  if (call == SYS_open || call == SYS_creat) return 1;
#endif
  return call == SYS_openat || call == SYS_openat2;
}

/* An open for reading and writing, or with O_CREAT, may read: for a secret that counts. */
static void report_open(const struct seccomp_notif *request, int folder, const char *path, uint64_t flags) {
  char real[PATH_BYTES_MAX];
  real_path((pid_t)request->pid, folder, path, 0, real, sizeof real);
  int writes = flags_write(flags) && ((flags & O_ACCMODE) == O_WRONLY || !is_secret(real));
  if (!writes && is_system_path(real)) return;
  if (flags_write(flags) && is_secret(real)) watch_once_created(real);
  uint64_t hash = hash_of(real, writes);
  if (is_reported(hash) || !is_request_valid(request->id)) return;
  if (report((pid_t)request->pid, request->data.nr, writes ? WRITE : OUTSIDE, 0, writes, real)) mark_reported(hash);
}

void answer_open(const struct seccomp_notif *request) {
  pid_t pid = (pid_t)request->pid;
  int folder, is_brokered = (wall.allowed & (1 << WRITE | 1 << OUTSIDE)) != (1 << WRITE | 1 << OUTSIDE);
  uint64_t at = 0;
  struct open_how how;
  /* Not judged here: let the kernel continue. */
  if (!is_brokered && !wall.reports) return continue_call(request);
  char path[PATH_BYTES_MAX] = "";
  if (!open_arguments(request, &folder, &at, &how)) {
    if (!is_brokered) return continue_call(request);
    return send_answer(request->id, 0, -ENOSYS, 0);
  }
  int writes = flags_write(how.flags), failed = read_text(pid, at, path, sizeof path);
  /* Read-only by flags in a register, and reading is allowed: Landlock checks the path that the kernel reads again. */
  if (wall.is_kept && !writes && request->data.nr != SYS_openat2 && wall.allowed & 1 << OUTSIDE) is_brokered = 0;
  if (!is_brokered) {
    if (!failed && (writes || !is_system_path(path))) report_open(request, folder, path, how.flags);
    return continue_call(request);
  }
  if (!failed && !is_request_valid(request->id)) return;
  /* `resolve` flags are not supported: fails with ENOSYS, so that the caller falls back to openat. */
  if (!failed && how.resolve) failed = -ENOSYS;
  int fd = failed ? failed : open_for(pid, folder, path, how.flags, how.mode);
  int class = writes && !(wall.allowed & 1 << WRITE) ? WRITE : OUTSIDE;
  if (fd == -wall.errors[class]) {
    char real[PATH_BYTES_MAX] = "";
    wall.denied++;
    if (wall.reports) real_path(pid, folder, path, 0, real, sizeof real);
    report(pid, request->data.nr, class, 1, writes, real);
  }
  if (fd < 0) return send_answer(request->id, 0, fd, 0);
  if (wall.reports && (writes || !is_system_path(path))) report_open(request, folder, path, how.flags);
  pass_descriptor(request->id, fd, writes, (how.flags & O_CLOEXEC) != 0);
}

/*
 * Opens, performed on behalf of the caller: resolve, judge, open through the judged descriptor, pass the result (ADDFD).
 *
 * Problem. The kernel must not resolve a path again after it was judged (TOCTOU). Some opens depend on the calling process
 * (umask, controlling terminal), and the open of a FIFO blocks.
 *
 * Mechanism. An existing file is opened by the /proc/self/fd name of the O_PATH descriptor that was judged. A new file is
 * created in the judged folder, with O_EXCL, O_NOFOLLOW and the caller's umask; if it is there by now, the open begins again, as
 * that of an existing one. A pipe is opened without waiting for its other end (fifos.c). `/dev/tty` is opened as the device of the
 * caller's controlling terminal.
 *
 * Relies on SECCOMP_ADDFD_FLAG_SEND (Linux 5.14). ADDFD waits until the caller's thread runs; with WAIT_KILLABLE_RECV (Linux
 * 5.19) no stop signal interrupts that thread. On an older kernel a stopped thread can block the calls of its own wall.
 *
 * The filter does not notify an open with O_PATH whose flags are in a register: such a descriptor gives no access to the
 * content, and ADDFD cannot pass it.
 *
 * Not handled: `resolve` and O_PATH of openat2 (ENOSYS, so that the caller falls back to openat). A terminal opened by a
 * session leader does not become its controlling terminal without TIOCSCTTY.
 */
#define _GNU_SOURCE
#include "opens.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../sentinel/caller.h"
#include "../sentinel/wall.h"
#include "fifos.h"
#include "judge.h"
#include "memory.h"
#include "resolve.h"
#include "reports.h"
#include "requests.h"
#include "turn.h"

/* IS_THERE: the file to create is there. Outside of the range of errnos. */
enum { TERMINAL_MAJOR = 136, DANGLING_MAX = 8, TRIES_MAX = 8, IS_THERE = -100002 };

static const uint64_t known_flags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC |
                                    O_SYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH |
                                    O_TMPFILE;

struct open_call {
  const struct seccomp_notif *request;
  int folder;
  uint64_t path_at;
  char path[PATH_BYTES];
  struct open_how how;
};

int is_open(int call) {
#ifdef SYS_open
  if (call == SYS_open || call == SYS_creat) return 1;
#endif
  return call == SYS_openat || call == SYS_openat2;
}

static int read_call(struct open_call *call) {
  const __u64 *args = call->request->data.args;
  memset(&call->how, 0, sizeof call->how);
  call->folder = AT_FDCWD;
  switch (call->request->data.nr) {
#ifdef SYS_open
    case SYS_open:
      call->path_at = args[0], call->how.flags = (uint32_t)args[1], call->how.mode = args[2];
      break;
    case SYS_creat:
      call->path_at = args[0], call->how.flags = O_CREAT | O_WRONLY | O_TRUNC, call->how.mode = args[1];
      break;
#endif
    case SYS_openat:
      call->folder = (int)args[0], call->path_at = args[1];
      call->how.flags = (uint32_t)args[2], call->how.mode = args[3];
      break;
    default:
      call->folder = (int)args[0], call->path_at = args[1];
      if (args[3] < sizeof call->how) return -EINVAL;
      if (read_bytes((pid_t)call->request->pid, args[2], &call->how, sizeof call->how)) return -EFAULT;
      if (call->how.resolve || call->how.flags & O_PATH) return -ENOSYS;
  }
  call->how.flags &= known_flags;
  call->how.mode &= 07777;
  int failed = read_text((pid_t)call->request->pid, call->path_at, call->path, sizeof call->path);
  return failed || is_request_valid(call->request->id) ? failed : -ENOENT;
}

static int is_unnamed(uint64_t flags) {
  return (flags & O_TMPFILE) == O_TMPFILE;
}

static int rights_of(uint64_t flags) {
  if (flags & O_PATH) return 0;
  int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC || is_unnamed(flags);
  return (writes ? WRITING : 0) | ((flags & O_ACCMODE) != O_WRONLY ? READING : 0);
}

mode_t umask_of(const struct seccomp_notif *request) {
  return (mode_t)status_of((pid_t)request->pid, "\nUmask:", 8, 0) & 0777;
}

/* ---- existing files ---- */

/* Opens the controlling terminal of the caller (tty_nr in /proc/PID/stat), a device of the wall's own devpts. */
static int open_controlling_terminal(const struct seccomp_notif *request, uint64_t flags) {
  char name[64], text[512];
  snprintf(name, sizeof name, "/proc/%u/stat", request->pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -ENXIO;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return -ENXIO;
  text[n] = 0;
  /* The program's name may contain any byte; the last bracket ends it. */
  char *at = strrchr(text, ')');
  long device = 0;
  if (!at || sscanf(at + 1, " %*c %*d %*d %*d %ld", &device) != 1) return -ENXIO;
  if (major((dev_t)device) != TERMINAL_MAJOR) return -ENXIO;
  snprintf(name, sizeof name, "/dev/pts/%u", minor((dev_t)device));
  fd = open(name, (int)(flags | O_NOCTTY | O_CLOEXEC));
  return fd < 0 ? -errno : fd;
}

static int is_dev_tty(const struct stat *facts) {
  return S_ISCHR(facts->st_mode) && facts->st_rdev == makedev(5, 0);
}

/* True if a folder on the way to a path may be entered by its owner or group alone. */
static int is_below_private_folder(const char *path) {
  static char folder[PATH_BYTES * 2];
  struct stat facts;
  snprintf(folder, sizeof folder, "%s", path);
  for (char *slash; (slash = strrchr(folder, '/')) && slash > folder;) {
    *slash = 0;
    if (fstatat(AT_FDCWD, folder, &facts, AT_SYMLINK_NOFOLLOW) || !(facts.st_mode & S_IXOTH)) return 1;
  }
  return 0;
}

/* Checks by inode, after the path was allowed. */
static int judge_file(const struct target *target, int rights, struct refusal *why) {
  int own = stream_rights(target);
  if (own >= 0) return rights & ~own ? refuse_stream(why) : 0;
  if (!S_ISREG(target->facts.st_mode)) return 0;
  if (target->facts.st_nlink > 1 && rights & rights_denied_to_hard_link(&target->facts, why)) return EACCES;
  if (rights & WRITING && judge_lock(target->path, &target->facts, why)) return EACCES;
  if (rights & READING && is_other_secret(target->path, &target->facts)) return EACCES;
  /* Root ignores file modes: for it, files of the host that are not world-readable stay closed. */
  if (getuid() != 0 || bind_of(target->path) || !is_host_file(&target->facts)) return 0;
  return target->facts.st_mode & S_IROTH && !is_below_private_folder(target->path) ? 0 : EACCES;
}

int is_own_process(pid_t pid) { return pid == 1 || is_memory_helper(pid); }

/* The kernel opens no socket by a name, which Node gives its children as streams, and no pipe of another user, such as of root, who
 * started Mayfly in a folder of this user: the open of a stream gives a copy of its descriptor then. */
static int copy_stream(const struct target *target, int failed) {
  if (stream_rights(target) < 0) return failed;
  int fd = fcntl(target->fd, F_DUPFD_CLOEXEC, 0);
  return fd < 0 ? -errno : fd;
}

static int open_existing(const struct open_call *call, const struct target *target) {
  uint64_t flags = call->how.flags;
  if (S_ISLNK(target->facts.st_mode) && !(flags & O_PATH)) return -ELOOP;
  if (flags & O_CREAT && flags & O_EXCL && !is_unnamed(flags)) return -EEXIST;
  if (flags & O_DIRECTORY && !S_ISDIR(target->facts.st_mode)) return -ENOTDIR;
  if (S_ISDIR(target->facts.st_mode) && flags & O_CREAT && !is_unnamed(flags)) return -EISDIR;
  if (is_dev_tty(&target->facts)) return open_controlling_terminal(call->request, flags);
  uint64_t again = flags & ~(uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW);
  if (is_unnamed(flags)) {
    char name[64];
    fd_path(target->fd, name, sizeof name);
    umask(umask_of(call->request));
    int fd = open(name, (int)(again | O_CLOEXEC), mode_without_ids(target->path, (mode_t)call->how.mode));
    return fd < 0 ? -errno : fd;
  }
  again |= O_NOCTTY | O_CLOEXEC;
  int is_pipe = S_ISFIFO(target->facts.st_mode), is_socket = S_ISSOCK(target->facts.st_mode);
  if (flags & O_PATH || !(is_pipe || is_socket)) return reopen(target->fd, again);
  int fd = is_pipe ? open_fifo(call->request, target->fd, again) : -ENXIO;
  return (fd == -ENXIO && is_socket) || fd == -EACCES ? copy_stream(target, fd) : fd;
}

/* ---- new files ---- */

static int create_file(const struct open_call *call, const struct target *target) {
  umask(umask_of(call->request));
  /* O_EXCL: a file that is there was not judged. The caller can swap its working folder, and a program outside make one. */
  uint64_t flags = call->how.flags | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC;
  int was_repository = is_repository_entry(target->path), makes_lock = is_lock(target->path);
  struct stat facts;
  int fd = openat(target->parent, target->name, (int)flags, mode_without_ids(target->path, (mode_t)call->how.mode));
  if (fd < 0 && (errno != EEXIST || call->how.flags & O_EXCL)) return -errno;
  if (fd < 0) {
    int is_found = fstatat(target->parent, target->name, &facts, AT_SYMLINK_NOFOLLOW) == 0;
    return is_found && S_ISLNK(facts.st_mode) ? -ELOOP : IS_THERE;
  }
  if (makes_lock && fstat(fd, &facts) == 0) add_own_lock(&facts);
  if (was_repository || !is_repository_entry(target->path)) return fd;
  close(fd);
  unlinkat(target->parent, target->name, 0);
  return -EACCES;
}

/* Target of a dangling symbolic link, as an absolute path. */
static int read_dangling_link(const struct target *target, char *to) {
  static char text[PATH_BYTES], folder[PATH_BYTES * 2];
  ssize_t n = readlinkat(target->parent, target->name, text, sizeof text - 1);
  if (n <= 0) return -errno;
  text[n] = 0;
  if (*text == '/') return snprintf(to, PATH_BYTES, "%s", text) < PATH_BYTES ? 0 : -ENAMETOOLONG;
  strcpy(folder, target->path);
  *(strrchr(folder, '/') + 1) = 0;
  return snprintf(to, PATH_BYTES, "%s%s", folder, text) < PATH_BYTES ? 0 : -ENAMETOOLONG;
}

static int open_new(struct open_call *call, struct refusal *why) {
  struct target target;
  size_t length = strlen(call->path);
  if (length && call->path[length - 1] == '/') return -EISDIR;
  for (int count = 0; count < DANGLING_MAX; count++) {
    int fd = resolve_parent(call->request, call->folder, call->path, &target);
    if (fd < 0) return fd == -EEXIST ? -EISDIR : fd;
    fd = lacks_turn(target.path) ? NEEDS_TURN : -judge(target.path, rights_of(call->how.flags) | WRITING | NAMING, why);
    if (fd == 0) fd = -judge_creation(target.path, why);
    if (fd == 0) fd = create_file(call, &target);
    /* A dangling symbolic link: O_CREAT creates its target, unless links are not followed. */
    int is_dangling = fd == -ELOOP && !(call->how.flags & (O_NOFOLLOW | O_EXCL));
    if (is_dangling) fd = read_dangling_link(&target, call->path);
    if (why->rule) report_refusal(call->request, target.path, WRITING, why);
    close_target(&target);
    if (!is_dangling || fd < 0) return fd;
  }
  return -ELOOP;
}

/* ---- answer ---- */

static int open_for(struct open_call *call, struct target *target, struct refusal *why) {
  uint64_t flags = call->how.flags;
  int follows = !(flags & O_NOFOLLOW) && !(flags & O_CREAT && flags & O_EXCL);
  int failed = resolve_path(call->request, call->folder, call->path, follows, target);
  if (failed == -ENOENT && flags & O_CREAT && !(flags & O_PATH) && !is_unnamed(flags)) return open_new(call, why);
  if (failed) return failed;
  int rights = rights_of(flags);
  if (rights & WRITING && lacks_turn(target->path)) return NEEDS_TURN;
  failed = rights ? judge(target->path, rights, why) : 0;
  if (!failed) failed = judge_file(target, rights, why);
  if (failed) {
    report_refusal(call->request, target->path, rights, why);
    return -failed;
  }
  return open_existing(call, target);
}

void answer_open(const struct seccomp_notif *request) {
  static struct open_call call;
  static struct target target;
  struct refusal why = {0};
  call.request = request;
  target.fd = target.parent = -1;
  int fd = read_call(&call);
  if (fd == 0) fd = IS_THERE;
  for (int tries = 0; fd == IS_THERE && tries < TRIES_MAX; tries++) {
    fd = open_for(&call, &target, &why);
    close_target(&target);
  }
  if (fd == IS_THERE) fd = -EAGAIN;
  if (fd == PENDING) return;
  if (fd < 0) return send_answer(request->id, 0, fd);
  send_descriptor(request->id, fd, call.how.flags);
  close_copy(fd);
}

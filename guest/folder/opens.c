/*
 * Opens, made for the caller: found, judged, opened by the descriptor of what was judged, and handed over.
 *
 * Problem. A path that was judged must not be read again by the kernel; and some opens depend on who makes them, or wait.
 *
 * Mechanism. What exists is opened by the name of the descriptor that was judged. A new file is made in the folder that was
 * judged, without following its name, with the caller's mask of modes. A named pipe waits for its other end: it is opened
 * in a process of its own, which hands it over itself. `/dev/tty` is the terminal of the caller's session, by its number.
 *
 * Relies on SECCOMP_ADDFD_FLAG_SEND (Linux 5.14). An answer waits for its caller to run, which one that is stopped does
 * not before it is received (WAIT_KILLABLE_RECV, Linux 5.19): on an older kernel a command can hold its own calls up so.
 *
 * An open with O_PATH is the kernel's own where its flags are in registers: what it gives reads and writes nothing, and
 * cannot be handed over.
 *
 * Not handled: `resolve` and O_PATH of openat2 (ENOSYS, so that the caller takes openat); a terminal that a session leader without
 * one opens becomes its terminal by TIOCSCTTY alone.
 */
#define _GNU_SOURCE
#include "opens.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../sentinel/caller.h"
#include "../sentinel/wall.h"
#include "judge.h"
#include "places.h"
#include "reports.h"
#include "requests.h"

#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

/* `WAITS_APART`: another process answers. No errno is as large. */
enum { TERMINAL_MAJOR = 136, NAMES_MAX = 8, WAITS_APART = -100000 };

static const uint64_t known_flags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC |
                                    O_SYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH |
                                    O_TMPFILE;

/* Processes that wait for the other end of a pipe, and the request of each. */
static struct {
  pid_t pid;
  uint64_t id;
} helpers[HELPERS_MAX];

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
  return failed || still_asks(call->request->id) ? failed : -ENOENT;
}

static int is_unnamed(uint64_t flags) {
  return (flags & O_TMPFILE) == O_TMPFILE;
}

static int rights_of(uint64_t flags) {
  if (flags & O_PATH) return 0;
  int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC || is_unnamed(flags);
  return (writes ? WRITING : 0) | ((flags & O_ACCMODE) != O_WRONLY ? READING : 0);
}

mode_t mask_of(const struct seccomp_notif *request) {
  return (mode_t)status_of((pid_t)request->pid, "\nUmask:", 8, 0) & 0777;
}

/* ---- what exists ---- */

/* Terminal of the caller's session, as a device of the wall's own devpts. */
static int open_own_terminal(const struct seccomp_notif *request, uint64_t flags) {
  char name[64], text[512];
  snprintf(name, sizeof name, "/proc/%u/stat", request->pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -ENXIO;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return -ENXIO;
  text[n] = 0;
  /* The name of a program may hold any byte but is followed by the last bracket. */
  char *at = strrchr(text, ')');
  long device = 0;
  if (!at || sscanf(at + 1, " %*c %*d %*d %*d %ld", &device) != 1) return -ENXIO;
  if (major((dev_t)device) != TERMINAL_MAJOR) return -ENXIO;
  snprintf(name, sizeof name, "/dev/pts/%u", minor((dev_t)device));
  fd = open(name, (int)(flags | O_NOCTTY | O_CLOEXEC));
  return fd < 0 ? -errno : fd;
}

static int is_own_terminal(const struct stat *facts) {
  return S_ISCHR(facts->st_mode) && facts->st_rdev == makedev(5, 0);
}

/* Rights that a file lacks here although its path has them. */
static int judge_file(const struct place *place, int rights, struct refusal *why) {
  if (!S_ISREG(place->facts.st_mode)) return 0;
  if (place->facts.st_nlink > 1 && rights & other_name_lacks(&place->facts, why)) return EACCES;
  /* As root no mode of a file of the system would hold this process: what is not for everybody stays closed. */
  if (getuid() != 0 || place->facts.st_mode & S_IROTH || bind_of(place->path)) return 0;
  return is_of_system(&place->facts) ? EACCES : 0;
}

static void add_descriptor(uint64_t id, int fd, uint64_t flags) {
  struct seccomp_notif_addfd given = {
      .id = id,
      .flags = SECCOMP_ADDFD_FLAG_SEND,
      .srcfd = (uint32_t)fd,
      .newfd_flags = flags & O_CLOEXEC ? O_CLOEXEC : 0,
  };
  int number;
  do number = ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_ADDFD, &given);
  while (number < 0 && errno == EINTR);
  if (number < 0 && errno != ENOENT && errno != EINPROGRESS) send_answer(id, 0, errno == EMFILE ? -EMFILE : -EACCES);
}

int is_own_process(pid_t pid) {
  if (pid == 1) return 1;
  for (int i = 0; i < HELPERS_MAX; i++)
    if (pid > 0 && helpers[i].pid == pid) return 1;
  return 0;
}

int end_helper(pid_t pid) {
  for (int i = 0; i < HELPERS_MAX; i++) {
    if (helpers[i].pid != pid) continue;
    helpers[i].pid = 0;
    /* A helper has answered, unless a process of the wall killed it. */
    send_answer(helpers[i].id, 0, -EINTR);
    return 1;
  }
  return 0;
}

/* The other end may come from any process of the wall, whose calls wait for this one: so another waits for it. */
static int open_pipe_apart(const struct seccomp_notif *request, int found, uint64_t flags) {
  int free = 0;
  while (free < HELPERS_MAX && helpers[free].pid) free++;
  if (free == HELPERS_MAX) return -EAGAIN;
  pid_t pid = fork();
  if (pid < 0) return -EAGAIN;
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open_again(found, flags | O_CLOEXEC);
    if (fd < 0) send_answer(request->id, 0, fd);
    else add_descriptor(request->id, fd, flags);
    _exit(0);
  }
  helpers[free].pid = pid;
  helpers[free].id = request->id;
  return WAITS_APART;
}

static int open_found(const struct open_call *call, const struct place *place) {
  uint64_t flags = call->how.flags;
  if (S_ISLNK(place->facts.st_mode) && !(flags & O_PATH)) return -ELOOP;
  if (flags & O_CREAT && flags & O_EXCL && !is_unnamed(flags)) return -EEXIST;
  if (flags & O_DIRECTORY && !S_ISDIR(place->facts.st_mode)) return -ENOTDIR;
  if (S_ISDIR(place->facts.st_mode) && flags & O_CREAT && !is_unnamed(flags)) return -EISDIR;
  if (is_own_terminal(&place->facts)) return open_own_terminal(call->request, flags);
  uint64_t again = flags & ~(uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW);
  if (is_unnamed(flags)) {
    char name[64];
    name_of_descriptor(place->fd, name, sizeof name);
    umask(mask_of(call->request));
    int fd = open(name, (int)(again | O_CLOEXEC), (mode_t)call->how.mode);
    return fd < 0 ? -errno : fd;
  }
  return open_again(place->fd, again | O_NOCTTY | O_CLOEXEC);
}

static int must_wait(const struct place *place, uint64_t flags) {
  return S_ISFIFO(place->facts.st_mode) && !(flags & (O_NONBLOCK | O_PATH)) && (flags & O_ACCMODE) != O_RDWR;
}

/* ---- what is made ---- */

static int make_file(const struct open_call *call, const struct place *place) {
  umask(mask_of(call->request));
  uint64_t flags = call->how.flags | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC;
  int was = lies_in_repository(place->path);
  int fd = openat(place->parent, place->name, (int)flags, (mode_t)call->how.mode);
  if (fd < 0) return -errno;
  if (was || !lies_in_repository(place->path)) return fd;
  close(fd);
  unlinkat(place->parent, place->name, 0);
  return -EACCES;
}

/* The text of a link that leads nowhere, from the folder that it is in. */
static int text_of_link(const struct place *place, char *to) {
  static char text[PATH_BYTES], folder[PATH_BYTES * 2];
  ssize_t n = readlinkat(place->parent, place->name, text, sizeof text - 1);
  if (n <= 0) return -errno;
  text[n] = 0;
  if (*text == '/') return snprintf(to, PATH_BYTES, "%s", text) < PATH_BYTES ? 0 : -ENAMETOOLONG;
  strcpy(folder, place->path);
  *(strrchr(folder, '/') + 1) = 0;
  return snprintf(to, PATH_BYTES, "%s%s", folder, text) < PATH_BYTES ? 0 : -ENAMETOOLONG;
}

static int open_new(struct open_call *call, struct refusal *why) {
  struct place place;
  size_t length = strlen(call->path);
  if (length && call->path[length - 1] == '/') return -EISDIR;
  for (int names = 0; names < NAMES_MAX; names++) {
    int fd = find_name(call->request, call->folder, call->path, &place);
    if (fd < 0) return fd == -EEXIST ? -EISDIR : fd;
    fd = -judge(place.path, rights_of(call->how.flags) | WRITING | NAMING, why);
    if (fd == 0) fd = make_file(call, &place);
    /* The name is a link that leads nowhere: what it names is made, unless links are not followed. */
    int leads_on = fd == -ELOOP && !(call->how.flags & (O_NOFOLLOW | O_EXCL));
    if (leads_on) fd = text_of_link(&place, call->path);
    if (why->rule) refused_at(call->request, place.path, WRITING, why);
    close_place(&place);
    if (!leads_on || fd < 0) return fd;
  }
  return -ELOOP;
}

/* ---- answers ---- */

static int open_for(struct open_call *call, struct place *place, struct refusal *why) {
  uint64_t flags = call->how.flags;
  int follows = !(flags & O_NOFOLLOW) && !(flags & O_CREAT && flags & O_EXCL);
  int failed = find_place(call->request, call->folder, call->path, follows, place);
  if (failed == -ENOENT && flags & O_CREAT && !(flags & O_PATH) && !is_unnamed(flags)) return open_new(call, why);
  if (failed) return failed;
  int rights = rights_of(flags);
  failed = rights ? judge(place->path, rights, why) : 0;
  if (!failed) failed = judge_file(place, rights, why);
  if (failed) {
    refused_at(call->request, place->path, rights, why);
    return -failed;
  }
  return must_wait(place, flags) ? open_pipe_apart(call->request, place->fd, flags) : open_found(call, place);
}

void answer_open(const struct seccomp_notif *request) {
  static struct open_call call;
  static struct place place;
  struct refusal why = {0};
  call.request = request;
  place.fd = place.parent = -1;
  int fd = read_call(&call);
  if (fd == 0) fd = open_for(&call, &place, &why);
  close_place(&place);
  if (fd == WAITS_APART) return;
  if (fd < 0) return send_answer(request->id, 0, fd);
  add_descriptor(request->id, fd, call.how.flags);
  close(fd);
}

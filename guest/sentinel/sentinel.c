/*
 * The sentinel: answers the system calls of one wall that depend on its phase (seccomp user notification).
 *
 *   sentinel enter PATH ARGV0 [ARG...]      inside: loads both filters, hands its listener over, becomes the program
 *   sentinel watch OPTIONS...               outside: takes the listener and answers until the wall is over
 *
 * Whoever runs in the wall is the enemy. Three rules follow.
 *
 * What is allowed only ever shrinks: `allowed` is changed by `&=` alone, so that no table, however it was made, and no
 * order in which tables come can widen it.
 *
 * CONTINUE lets the kernel read the arguments again, so it is answered only where no argument in memory was judged:
 * where a class is open as a whole, or by numbers that are in registers. Where a path or an address decides, the work
 * is done here, on a copy: the file is opened below the wall's own root and its descriptor put into the caller.
 *
 * Time is ours: phases turn by CLOCK_BOOTTIME in this process, whether or not anybody outside still runs. When the
 * warden is gone, nothing is allowed any more and the first process of the wall is killed, which ends all of it.
 *
 * One thread, no allocation after the start, every buffer with a bound. See README.md beside this for the protocol.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/audit.h>
#include <linux/inet_diag.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif
#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

/* ---- inside ---- */

enum { READY_FD = 4, FILTER_FD = 6, HAND_OVER_FD = 8, FILTER_BYTES_MAX = 65536 };

static _Noreturn void cannot(const char *what) {
  char text[200];
  int n = snprintf(text, sizeof text, "Esentinel: %s: %s", what, strerror(errno));
  if (n > 0 && write(READY_FD, text, (size_t)n) < 0) _exit(2);
  _exit(1);
}

static int load_filter(unsigned long flags, const unsigned char *code, uint32_t bytes) {
  struct sock_fprog program = {
      .len = (unsigned short)(bytes / sizeof(struct sock_filter)),
      .filter = (struct sock_filter *)(uintptr_t)code,
  };
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int load_listening(const unsigned char *code, uint32_t bytes) {
  unsigned long listens = SECCOMP_FILTER_FLAG_NEW_LISTENER;
  int fd = load_filter(listens | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, code, bytes);
  return fd < 0 && errno == EINVAL ? load_filter(listens, code, bytes) : fd;
}

/* Two length-prefixed filters: the first asks the sentinel (SECCOMP_RET_USER_NOTIF), the second decides alone. */
static uint32_t take_filter(unsigned char **at, const unsigned char *end) {
  uint32_t bytes;
  if (end - *at < 4) cannot("no filter");
  memcpy(&bytes, *at, 4);
  *at += 4;
  if (bytes > (size_t)(end - *at) || bytes % sizeof(struct sock_filter)) cannot("half a filter");
  return bytes;
}

static _Noreturn void enter(char **argv) {
  static unsigned char filters[FILTER_BYTES_MAX] __attribute__((aligned(8)));
  size_t have = 0;
  for (ssize_t n; have < sizeof filters; have += (size_t)n) {
    n = read(FILTER_FD, filters + have, sizeof filters - have);
    if (n < 0 && errno == EINTR) n = 0;
    else if (n < 0) cannot("read the filters");
    else if (n == 0) break;
  }
  unsigned char *at = filters, *end = filters + have;
  uint32_t asking_bytes = take_filter(&at, end);
  unsigned char *asking = at;
  at += asking_bytes;
  uint32_t fixed_bytes = take_filter(&at, end);

  char byte;
  if (read(HAND_OVER_FD, &byte, 1) != 1) cannot("nobody to hand over to");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) cannot("no_new_privs");
  /* Netlink socket that lists sockets of this network namespace only; optional. */
  int32_t sockets = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  int32_t listener = load_listening(asking, asking_bytes);
  if (listener < 0) cannot("load the filter");
  int32_t handed[] = {listener, sockets};
  if (write(HAND_OVER_FD, handed, sizeof handed) != sizeof handed) cannot("hand over");
  if (read(HAND_OVER_FD, &byte, 1) != 1) cannot("the sentinel may not look into this wall");
  close(listener);
  if (sockets >= 0) close(sockets);
  close(FILTER_FD);
  close(HAND_OVER_FD);
  if (fixed_bytes > 0 && load_filter(0, at, fixed_bytes)) cannot("load the fixed filter");
  execv(argv[0], argv + 1);
  cannot("become the program");
}

/* ---- outside: state ---- */

enum {
  CONTROL_FD = 3,
  HANDED_FD = 4,
  PROGRAM_FD = 5,
  CAPTURE_FD = 6,
  CALLS_MAX = 1024,
  PHASES_MAX = 64,
  FRAME_BYTES_MAX = 1024,
  PHASE_BYTES = 12,
  OUT_BYTES_MAX = 65536,
  OUT_BYTES_EVENTS = 49152,
  LINE_BYTES_MAX = 8192,
  EXECS_MAX = 64,
  EXEC_MS_MAX = 2000,
  EXEC_LOOK_MS = 100,
  INTERPRETER_BYTES_MAX = 256,
  PATH_BYTES_MAX = 4096,
  SHOWN_BYTES_MAX = 256,
  /* Field numbers of /proc/PID/stat. */
  BEGAN_FIELD = 22,
  SEEN_MAX = 4096,
  TASKS_MAX = 4096,
  PROBES_MAX = 8,
  WAITING_MAX = 16,
  GIVING_MAX = 64,
  PATIENCE_US = 2000,
  /* CPU share, in 1/256 of a core, and its burst. */
  SHARE = 64,
  BURST_MS = 500,
  REST_MS = 2,
  IN_VAIN_MAX = 64,
  IN_VAIN_MS = 8,
  LIFTS_MAX = 4,
  CAPTURED_MAX = 64,
  RECEIVED_MAX = 64,
  SCRATCH_DEVICES_MAX = 8,
  /* Settling blocks everything else for this long; then continues in the background, and finally gives up. */
  SETTLE_US = 20000,
  SETTLE_MS_MAX = 700,
  LATE_MS_MAX = 3000,
  ENDING_MS = 50,
  SECRETS_MAX = 64,
  WATCHED_MAX = 32,
  /* Attempts to find a file that is about to be created. */
  TRIES_MAX = 200,
  /* An open without a close for longer counts as a read (mmap); writers close sooner. */
  OPEN_MS_MAX = 500,
  WATCH_LOOK_MS = 50,
  /* Bounds of path resolution in user space; beyond them the path is reported as written. */
  LINKS_MAX = 16,
  STEPS_MAX = 128,
};

enum { EXEC, PROCESS, NETWORK, WRITE, OUTSIDE, CLASSES };
static const char *const class_names[CLASSES] = {"exec", "process", "network", "write", "outside"};
enum { ALL = (1 << CLASSES) - 1 };

enum { ENDED_WELL = 0, BAD_FRAME = 2, LOST_WARDEN = 3, NOT_HANDED_OVER = 4, BAD_START = 5, AT_END = 6, UNHELD = 7, UNSETTLED = 8 };

struct phase {
  uint64_t at;
  uint32_t generation;
  uint8_t allow, kills, errors[6];
};

static struct {
  uint8_t class_of[CALLS_MAX]; /* class + 1; 0 is not watched */
  uint8_t used[CALLS_MAX];
  uint8_t allowed;
  uint8_t errors[6];
  uint32_t generation;
  struct phase phases[PHASES_MAX];
  int phase_count;
  int listener, root, init, parent, sockets;
  pid_t entered;
  ino_t processes;
  dev_t scratch[SCRATCH_DEVICES_MAX];
  int scratch_count;
  int lifts[LIFTS_MAX];
  const char *lift_texts[LIFTS_MAX];
  int lift_count;
  int bound;
  int reports;
  int asks;
  const char *secrets[SECRETS_MAX];
  int secret_count;
  uint64_t denied, answered, left_out, forgotten;
  pid_t capturing;
  /* Kernel timer that kills this process. */
  int alarm, has_alarm;
} s = {.allowed = ALL, .listener = -1, .root = -1, .init = -1, .parent = -1, .sockets = -1, .bound = -1};

static uint64_t ns_of(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) {
  return ns_of(CLOCK_BOOTTIME);
}

/* Also called from the signal handler: async-signal-safe calls only. A process without CPU time dies slowly, so
 * the wall's CPU bounds are lifted once it can execute no instruction. */
static _Noreturn void end_wall(int status) {
  s.allowed = 0;
  if (s.init >= 0) syscall(SYS_pidfd_send_signal, s.init, SIGKILL, NULL, 0);
  for (int i = 0; i < s.lift_count; i++)
    if (write(s.lifts[i], s.lift_texts[i], strlen(s.lift_texts[i])) < 0) continue;
  _exit(status);
}

static void parent_died(int signal) {
  (void)signal;
  end_wall(LOST_WARDEN);
}

static void be_interrupted(int signal) { (void)signal; }

/* ---- output: one JSON value a line, never blocks ---- */

static char out[OUT_BYTES_MAX];
static size_t out_bytes;

static void flush_out(void) {
  while (out_bytes > 0) {
    ssize_t n = send(CONTROL_FD, out, out_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n < 0) end_wall(LOST_WARDEN);
    memmove(out, out + n, out_bytes - (size_t)n);
    out_bytes -= (size_t)n;
  }
}

static int say_within(size_t bound, const char *line, int n) {
  if (n <= 0 || n >= LINE_BYTES_MAX || out_bytes + (size_t)n > bound) return 0;
  memcpy(out + out_bytes, line, (size_t)n);
  out_bytes += (size_t)n;
  flush_out();
  return 1;
}

/* Reports caused by the guest leave room for these, so a full buffer here means that the warden stopped
 * reading. */
#define SAY(...)                                                      \
  do {                                                                \
    char line_[LINE_BYTES_MAX];                                       \
    int n_ = snprintf(line_, sizeof line_, __VA_ARGS__);              \
    if (!say_within(OUT_BYTES_MAX, line_, n_)) end_wall(LOST_WARDEN); \
  } while (0)

/* Escapes every non-ASCII byte by its number: the guest's encoding is unknown. */
static void quote(char *to, size_t room, const char *from) {
  size_t have = 0;
  for (; *from && have + 7 < room; from++) {
    unsigned char c = (unsigned char)*from;
    if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
      have += (size_t)snprintf(to + have, room - have, "\\u%04x", c);
    else
      to[have++] = (char)c;
  }
  to[have] = 0;
}

/* Separate budgets for each kind of report: a flood of one cannot suppress another. */
enum { OF_SECRETS, OF_EXECS, OF_REFUSALS, OF_REST, KINDS };

/* Substring of a secret's path; one that ends with a path component must match a complete component. */
static int is_secret(const char *path) {
  for (int i = 0; i < s.secret_count; i++) {
    const char *part = s.secrets[i];
    size_t length = strlen(part);
    int is_folder = strchr("/_-", part[length - 1]) != NULL;
    for (const char *at = strstr(path, part); at; at = strstr(at + 1, part))
      if (is_folder || !isalnum((unsigned char)at[length])) return 1;
  }
  return 0;
}

static int may_report(int kind) {
  static const double burst[KINDS] = {200, 500, 500, 1000}, a_second[KINDS] = {20, 50, 50, 100};
  static double spent[KINDS];
  static uint64_t last[KINDS];
  uint64_t now = now_ns();
  spent[kind] -= (double)(now - last[kind]) / 1e9 * a_second[kind];
  if (spent[kind] < 0) spent[kind] = 0;
  last[kind] = now;
  if (spent[kind] + 1 > burst[kind]) {
    s.left_out++;
    return 0;
  }
  spent[kind] += 1;
  return 1;
}

/* Returns true if reported. `wrote`: time of the last write to the executable, in milliseconds of
 * CLOCK_MONOTONIC; below 0 if unknown. */
static int report_run(pid_t pid, int call, int class, int is_denied, int writes, const char *path, double wrote) {
  int kind = path && is_secret(path) ? OF_SECRETS : is_denied ? OF_REFUSALS : class == EXEC ? OF_EXECS : OF_REST;
  if (!s.reports || !may_report(kind)) return 0;
  char when[40] = "";
  if (wrote >= 0) snprintf(when, sizeof when, ",\"wrote\":%.3f", wrote);
  char shown[SHOWN_BYTES_MAX * 6 + 8] = "", line[LINE_BYTES_MAX];
  size_t length = path ? strlen(path) : 0;
  /* Truncates at the front: the end of a path is more informative. */
  if (path) quote(shown, sizeof shown, path + (length > SHOWN_BYTES_MAX ? length - SHOWN_BYTES_MAX : 0));
  int n = snprintf(line, sizeof line,
                   "{\"kind\":\"seen\",\"t\":%.3f,\"monotonic\":%.3f,\"pid\":%d,\"call\":%d,\"class\":\"%s\",\"verdict\":\"%s\","
                   "\"writes\":%s,\"leftOut\":%llu%s%s%s%s}\n",
                   (double)now_ns() / 1e6, (double)ns_of(CLOCK_MONOTONIC) / 1e6, pid, call, class_names[class], is_denied ? "denied" : "allowed",
                   writes ? "true" : "false", (unsigned long long)s.left_out, when, path ? ",\"path\":\"" : "", shown,
                   path ? "\"" : "");
  if (say_within(OUT_BYTES_EVENTS, line, n)) return 1;
  s.left_out++;
  return 0;
}

static int report(pid_t pid, int call, int class, int is_denied, int writes, const char *path) {
  return report_run(pid, call, class, is_denied, writes, path, -1);
}

/* ---- the caller's memory and names, always as a copy (TOCTOU) ---- */

/* Reads page by page: the text may end just before an unmapped page. */
static int read_text(pid_t pid, uint64_t from, char *to, size_t room) {
  size_t have = 0;
  while (have < room) {
    size_t want = 4096 - ((from + have) & 4095);
    if (want > room - have) want = room - have;
    struct iovec here = {to + have, want}, there = {(void *)(uintptr_t)(from + have), want};
    ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (n <= 0) return n < 0 && errno == EPERM ? -EACCES : -EFAULT;
    if (memchr(to + have, 0, (size_t)n)) return 0;
    have += (size_t)n;
  }
  return -ENAMETOOLONG;
}

static int read_bytes(pid_t pid, uint64_t from, void *to, size_t bytes) {
  struct iovec here = {to, bytes}, there = {(void *)(uintptr_t)from, bytes};
  return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)bytes ? 0 : -EFAULT;
}

static int read_status(pid_t pid, char *text, size_t room) {
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/status", pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = read(fd, text, room - 1);
  close(fd);
  if (n > 0) text[n] = 0;
  return n > 0;
}

/* Number after a key at the start of a line of /proc/PID/status. `last`: the last one of several. */
static long status_of(pid_t pid, const char *word, int base, int last) {
  char text[4096];
  char *at = read_status(pid, text, sizeof text) ? strstr(text, word) : NULL;
  if (!at) return -1;
  at += strlen(word);
  long value = strtol(at, &at, base);
  while (last && *at == '\t') value = strtol(at, &at, base);
  return value;
}

/* Inode of its PID namespace; 0 if the process is gone. */
static ino_t table_of(pid_t pid) {
  char name[64];
  struct stat facts;
  snprintf(name, sizeof name, "/proc/%d/ns/pid", pid);
  return stat(name, &facts) == 0 ? facts.st_ino : 0;
}

/* True if it has exited, even if not yet reaped (zombie). */
static int has_ended(pid_t pid) {
  char text[4096];
  char *at = read_status(pid, text, sizeof text) ? strstr(text, "\nState:\t") : NULL;
  return !at || at[8] == 'Z' || at[8] == 'X';
}

static int still_asks(uint64_t id) { return ioctl(s.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

static int copy_descriptor(pid_t pid, int number) {
  int process = (int)syscall(SYS_pidfd_open, pid, PIDFD_THREAD);
  if (process < 0) process = (int)syscall(SYS_pidfd_open, status_of(pid, "\nTgid:", 10, 0), 0);
  if (process < 0) return -EACCES;
  int fd = (int)syscall(SYS_pidfd_getfd, process, number, 0);
  int error = errno;
  close(process);
  return fd < 0 ? (error == EBADF ? -EBADF : -EACCES) : fd;
}

static int link_to(const char *name, char *to, size_t room) {
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
  int fd = copy_descriptor(pid, folder);
  if (fd < 0) return fd;
  struct stat facts;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  int failed = fstat(fd, &facts) || !S_ISDIR(facts.st_mode) ? -ENOTDIR : link_to(name, to, room);
  close(fd);
  return failed;
}

/* Translates /proc/self and /proc/thread-self into numeric paths: the sentinel is in another PID namespace. */
static const char *after_self(pid_t pid, const char *path, char *to, size_t room) {
  static const char own[] = "/proc/self", thread[] = "/proc/thread-self";
  size_t length = !strncmp(path, own, sizeof own - 1) ? sizeof own - 1 : sizeof thread - 1;
  int is_thread = length == sizeof thread - 1;
  if (strncmp(path, is_thread ? thread : own, length) || (path[length] && path[length] != '/')) return path;
  long group = status_of(pid, "\nNStgid:", 10, 1), tid = status_of(pid, "\nNSpid:", 10, 1);
  if (is_thread) snprintf(to, room, "/proc/%ld/task/%ld", group, tid);
  else snprintf(to, room, "/proc/%ld", group);
  return path + length;
}

static int whole_path(pid_t pid, int folder, const char *path, char *to, size_t room) {
  if (!*path) return -ENOENT;
  to[0] = 0;
  int failed = *path == '/' ? 0 : folder_of(pid, folder, to, room);
  if (failed) return failed;
  if (*path == '/') path = after_self(pid, path, to, room);
  size_t have = strlen(to);
  if (have + strlen(path) + 2 > room) return -ENAMETOOLONG;
  if (have && *path) to[have++] = '/';
  strcpy(to + have, path);
  return 0;
}

static int open_below(int folder, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
  int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
  return fd < 0 ? -errno : fd;
}

/* Target of a symlink, NUL-terminated; guest bytes. */
static int is_link(int fd, char *to, size_t room) {
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
static void follow(pid_t pid, const char *path, char *done, size_t room) {
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
      after_self(pid, *name == 's' ? "/proc/self" : "/proc/thread-self", done, room);
      have = strlen(done);
    } else {
      have += (size_t)snprintf(done + have, room - have, "/%s", name);
    }
    if (!is_there || ++steps > STEPS_MAX) continue;
    int fd = open_below(s.root, done, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (fd < 0) {
      is_there = 0;
      continue;
    }
    char to[PATH_BYTES_MAX];
    int leads = is_link(fd, to, sizeof to);
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
static void real_path(pid_t pid, int folder, const char *path, int is_run, char *to, size_t room) {
  char whole[PATH_BYTES_MAX * 2], name[64];
  if (whole_path(pid, folder, path, whole, sizeof whole)) {
    snprintf(to, room, "%s", path);
    return;
  }
  int fd = is_run ? -ENOENT : open_below(s.root, whole, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
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
    fd = open_below(s.root, whole, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    *slash = '/';
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    /* A dangling symlink is a link too. */
    int other = fd < 0 || is_run ? -1 : open_below(fd, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_BENEATH);
    int failed = fd < 0 || other >= 0 || link_to(name, to, room);
    if (other >= 0) close(other);
    if (fd >= 0) close(fd);
    size_t have = failed ? 0 : strlen(to);
    if (!failed && have + strlen(slash) + 1 < room) {
      strcpy(to + (have == 1 ? 0 : have), slash);
      return;
    }
  }
  follow(pid, whole, to, room);
}

/* ---- opens, performed here ---- */

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

static int is_scratch(const struct stat *facts) {
  for (int i = 0; i < s.scratch_count; i++)
    if (s.scratch[i] == facts->st_dev) return 1;
  return 0;
}

/* Judges the opened file by fstat, not by name: a name may change before it is resolved (TOCTOU). */
static int judged(int fd, int writes) {
  struct stat facts;
  if (fstat(fd, &facts)) return -EACCES;
  if (is_harmless_device(&facts)) return 0;
  if (writes && !(s.allowed & 1 << WRITE)) return -s.errors[WRITE];
  if (!(s.allowed & 1 << OUTSIDE) && !is_scratch(&facts)) return -s.errors[OUTSIDE];
  return 0;
}

static int open_new(pid_t pid, char *path, uint64_t flags, uint64_t mode) {
  char *slash = strrchr(path, '/');
  const char *name = slash + 1;
  if (!*name || !strcmp(name, ".") || !strcmp(name, "..")) return -EISDIR;
  char first[2] = "/";
  if (slash != path) *slash = 0;
  int folder = open_below(s.root, slash == path ? first : path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
  if (folder < 0) return folder;
  int fd = judged(folder, 1);
  if (fd == 0) {
    umask((mode_t)status_of(pid, "\nUmask:", 8, 0) & 0777);
    fd = open_below(folder, name, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode & 07777,
                    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  }
  close(folder);
  return fd;
}

static int open_found(int found, uint64_t flags, uint64_t mode) {
  struct stat facts;
  if (fstat(found, &facts)) return -EACCES;
  if (S_ISLNK(facts.st_mode) && !(flags & O_PATH)) return -ELOOP;
  int writes = flags_write(flags), failed = judged(found, writes);
  if (failed) return failed;
  if ((flags & O_CREAT) && (flags & O_EXCL) && (flags & O_TMPFILE) != O_TMPFILE) return -EEXIST;
  if (flags & O_PATH) return fcntl(found, F_DUPFD_CLOEXEC, 0);
  /* Opening a socket fails, and opening another device may have side effects. */
  if (S_ISBLK(facts.st_mode) || (S_ISCHR(facts.st_mode) && !is_harmless_device(&facts))) return -EACCES;
  if (S_ISDIR(facts.st_mode) && (flags & O_CREAT)) return -EISDIR;
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", found);
  uint64_t again = flags & ~(uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW);
  int fd = open(name, (int)(again | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), (mode_t)mode & 07777);
  return fd < 0 ? -errno : fd;
}

static int open_for(pid_t pid, int folder, const char *path, uint64_t flags, uint64_t mode) {
  char whole[PATH_BYTES_MAX * 2];
  int failed = whole_path(pid, folder, path, whole, sizeof whole);
  if (failed) return failed;
  flags &= open_flags_known;
  uint64_t how = O_PATH | O_CLOEXEC | (flags & (O_NOFOLLOW | O_DIRECTORY));
  if ((flags & O_CREAT) && (flags & O_EXCL)) how |= O_NOFOLLOW;
  int found = open_below(s.root, whole, how, 0, RESOLVE_IN_ROOT), fd;
  if (found == -ENOENT && (flags & O_CREAT) && !(flags & O_PATH)) {
    fd = open_new(pid, whole, flags, mode);
  } else if (found < 0) {
    return found;
  } else {
    fd = open_found(found, flags, mode);
    close(found);
  }
  if (fd < 0) return fd;
  failed = judged(fd, flags_write(flags));
  if (!failed && !(flags & (O_NONBLOCK | O_PATH))) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  if (failed) close(fd);
  return failed ? failed : fd;
}

/* ---- answers ---- */

static struct task {
  pid_t tid;
  /* Thread group: a thread that calls execve takes over its leader's pid. */
  pid_t group;
  int call;
  uint64_t at;
  /* Time since it is being driven past that call; 0 otherwise. */
  uint64_t settles;
  int is_traced, is_killed;
} tasks[TASKS_MAX];
static int settling_count;

/* True if a continued call may still take effect: the thread is running, or is in that call. */
static int may_still(pid_t tid, int call) {
  char name[64], text[64] = "";
  snprintf(name, sizeof name, "/proc/%d/syscall", tid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno != ENOENT && errno != ESRCH;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return errno != ESRCH;
  return text[0] == 'r' || atoi(text) == call;
}

static void forget(struct task *task) {
  settling_count -= task->settles > 0;
  memset(task, 0, sizeof *task);
}

/* Slot of this thread, else a free one near its hash, else that of a finished call. NULL if there is none: a
 * guest with thousands of threads cannot evict entries. */
static struct task *place_for(pid_t tid) {
  unsigned int first = (unsigned int)tid % TASKS_MAX;
  struct task *vacant = NULL;
  for (unsigned int i = 0; i < PROBES_MAX; i++) {
    struct task *at = &tasks[(first + i) % TASKS_MAX];
    if (at->tid == tid) return at;
    if (!vacant && at->tid == 0) vacant = at;
  }
  for (unsigned int i = 0; !vacant && i < TASKS_MAX; i++) {
    struct task *at = &tasks[(first + i) % TASKS_MAX];
    if (at->tid == tid || at->tid == 0 || !may_still(at->tid, at->call)) vacant = at;
  }
  return vacant;
}

/* Records the last continued call of a thread: until it has finished it may still take effect. A new request
 * proves that the previous call has finished. A thread that does not fit is treated as never finished. */
static void remember(const struct seccomp_notif *asked) {
  pid_t tid = (pid_t)asked->pid;
  struct task *task = place_for(tid);
  if (!task) {
    s.forgotten++;
    return;
  }
  forget(task);
  task->tid = tid;
  task->call = asked->data.nr;
  task->at = now_ns();
  int is_exec = s.class_of[task->call] == EXEC + 1;
  task->group = is_exec ? (pid_t)status_of(tid, "\nTgid:", 10, 0) : 0;
}

static void send_answer(uint64_t id, int64_t value, int error, uint32_t flags) {
  struct seccomp_notif_resp answer = {.id = id, .val = value, .error = error, .flags = flags};
  s.answered++;
  /* ENOENT: the caller has died. */
  if (ioctl(s.listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT && errno != EINPROGRESS)
    end_wall(ENDED_WELL);
}

static void go_on(const struct seccomp_notif *asked) {
  remember(asked);
  send_answer(asked->id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* Two operations here block on the wall: SECCOMP_IOCTL_NOTIF_ADDFD waits until the thread runs, and connect
 * blocks if the wall makes its socket blocking again. A wall could make them wait for ever, so a timer
 * interrupts them (EINTR); phases must not be delayed. */
static void be_impatient(int us) {
  struct itimerval soon = {.it_interval = {.tv_usec = us}, .it_value = {.tv_usec = us}};
  setitimer(ITIMER_REAL, &soon, NULL);
}

/* Descriptors whose thread has not run yet (ADDFD pending). */
static struct {
  uint64_t id;
  int fd, writes, closes_on_exec;
} giving[GIVING_MAX];
static int giving_count;
/* Consecutive failed attempts: a stopped wall is retried less often. */
static int given_in_vain;

/* Returns 0 when done, in success or failure; the descriptor stays open here. */
static int give_now(uint64_t id, int fd, int closes_on_exec) {
  struct seccomp_notif_addfd given = {
      .id = id,
      .srcfd = (uint32_t)fd,
      .newfd_flags = closes_on_exec ? O_CLOEXEC : 0,
  };
  be_impatient(PATIENCE_US);
  int number = ioctl(s.listener, SECCOMP_IOCTL_NOTIF_ADDFD, &given), error = errno;
  be_impatient(0);
  given_in_vain = number < 0 && error == EINTR ? given_in_vain + (given_in_vain < IN_VAIN_MAX) : 0;
  if (number >= 0) send_answer(id, number, 0, 0);
  else if (error == EINTR) return -EAGAIN;
  else if (error != ENOENT) send_answer(id, 0, error == EMFILE ? -EMFILE : -EACCES, 0);
  return 0;
}

/* Takes ownership of the descriptor, and passes it to the caller, which may write to it or not. */
static void give_descriptor(uint64_t id, int fd, int writes, int closes_on_exec) {
  if (give_now(id, fd, closes_on_exec) == 0) {
    close(fd);
    return;
  }
  giving[giving_count].id = id;
  giving[giving_count].fd = fd;
  giving[giving_count].writes = writes;
  giving[giving_count++].closes_on_exec = closes_on_exec;
}

static void drop_giving(int i) {
  close(giving[i].fd);
  memmove(giving + i, giving + i + 1, (size_t)(--giving_count - i) * sizeof giving[0]);
}

/* Retries the oldest one; if it is still pending, it moves to the end. */
static void try_giving(void) {
  uint64_t id = giving[0].id;
  int fd = giving[0].fd, writes = giving[0].writes, closes_on_exec = giving[0].closes_on_exec;
  memmove(giving, giving + 1, (size_t)--giving_count * sizeof giving[0]);
  give_descriptor(id, fd, writes, closes_on_exec);
}

/* Withdraws pending descriptors that the current phase no longer allows. */
static void judge_giving(void) {
  for (int i = giving_count - 1; i >= 0; i--) {
    int failed = judged(giving[i].fd, giving[i].writes);
    if (!failed) continue;
    s.denied++;
    send_answer(giving[i].id, 0, failed, 0);
    drop_giving(i);
  }
}

static struct {
  uint64_t id;
  int socket, place;
  struct sockaddr_un to;
  socklen_t bytes;
} waiting[WAITING_MAX];
static int waiting_count;

/* Non-blocking connect: sets O_NONBLOCK for its duration. */
static int connect_now(int socket, const struct sockaddr_un *to, socklen_t bytes, int *would_wait) {
  int flags = fcntl(socket, F_GETFL);
  *would_wait = flags >= 0 && !(flags & O_NONBLOCK);
  if (*would_wait) fcntl(socket, F_SETFL, flags | O_NONBLOCK);
  be_impatient(PATIENCE_US);
  int failed = connect(socket, (const struct sockaddr *)to, bytes) ? -errno : 0;
  be_impatient(0);
  if (*would_wait) fcntl(socket, F_SETFL, flags);
  if (failed != -EINTR) return failed;
  /* The wall removed O_NONBLOCK meanwhile: it would block. */
  *would_wait = 1;
  return -EINTR;
}

static void drop_waiting(int i) {
  close(waiting[i].socket);
  if (waiting[i].place >= 0) close(waiting[i].place);
  waiting[i] = waiting[--waiting_count];
}

static void try_waiting(void) {
  for (int i = waiting_count - 1; i >= 0; i--) {
    int would_wait, failed = connect_now(waiting[i].socket, &waiting[i].to, waiting[i].bytes, &would_wait);
    int is_early = failed == -EAGAIN || failed == -EINTR;
    if (!is_early || !still_asks(waiting[i].id)) {
      send_answer(waiting[i].id, 0, is_early ? -EAGAIN : failed, 0);
      drop_waiting(i);
    }
    /* EINTR: the time of this round has run out. */
    if (failed == -EINTR) return;
  }
}

/* With the network closed, only sockets between the wall's own processes work. The duplicated socket
 * (pidfd_getfd) decides the family, the copied address the destination. A path is resolved in the wall's own
 * root. */
static int connect_for(const struct seccomp_notif *asked, int socket, int *is_later) {
  struct sockaddr_un to = {0};
  int domain;
  socklen_t size = sizeof domain;
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != AF_UNIX) return -s.errors[NETWORK];
  uint64_t bytes = asked->data.args[2];
  if (bytes < offsetof(struct sockaddr_un, sun_path) || bytes > sizeof to) return -EINVAL;
  if (read_bytes((pid_t)asked->pid, asked->data.args[1], &to, bytes)) return -EFAULT;
  if (to.sun_family != AF_UNIX) return -s.errors[NETWORK];
  int place = -1;
  if (bytes > offsetof(struct sockaddr_un, sun_path) && to.sun_path[0]) {
    char path[sizeof to.sun_path + 1] = "", whole[PATH_BYTES_MAX];
    memcpy(path, to.sun_path, bytes - offsetof(struct sockaddr_un, sun_path));
    int failed = whole_path((pid_t)asked->pid, AT_FDCWD, path, whole, sizeof whole);
    place = failed ? failed : open_below(s.root, whole, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (place < 0) return place;
    snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d", place);
    bytes = sizeof to;
  }
  int would_wait, failed = still_asks(asked->id) ? connect_now(socket, &to, (socklen_t)bytes, &would_wait) : -ENOENT;
  if (failed == -EINTR) failed = -EAGAIN;
  if (failed == -EAGAIN && would_wait && waiting_count < WAITING_MAX) {
    waiting[waiting_count].id = asked->id;
    waiting[waiting_count].socket = socket;
    waiting[waiting_count].place = place;
    waiting[waiting_count].to = to;
    waiting[waiting_count++].bytes = (socklen_t)bytes;
    *is_later = 1;
    return 0;
  }
  if (place >= 0) close(place);
  return failed;
}

static void answer_connect(const struct seccomp_notif *asked) {
  int is_later = 0, socket = copy_descriptor((pid_t)asked->pid, (int)asked->data.args[0]);
  int failed = socket < 0 ? socket : connect_for(asked, socket, &is_later);
  if (is_later) return;
  if (socket >= 0) close(socket);
  if (failed == -s.errors[NETWORK]) {
    s.denied++;
    report((pid_t)asked->pid, asked->data.nr, NETWORK, 1, 0, NULL);
  }
  send_answer(asked->id, 0, failed, 0);
}

/* With writing closed, no socket may be bound to a path, which would create a file; other addresses create
 * none. */
static int bind_for(const struct seccomp_notif *asked, int socket) {
  union {
    struct sockaddr any;
    struct sockaddr_un near;
    struct sockaddr_nl kernel;
    struct sockaddr_storage whole;
  } to = {0};
  uint64_t bytes = asked->data.args[2];
  if (bytes < sizeof to.any.sa_family || bytes > sizeof to) return -EINVAL;
  if (read_bytes((pid_t)asked->pid, asked->data.args[1], &to, bytes)) return -EFAULT;
  int is_named = bytes > offsetof(struct sockaddr_un, sun_path) && to.near.sun_path[0];
  /* Not on behalf of a process that may receive more than the caller. */
  int is_wide = to.any.sa_family == AF_NETLINK && to.kernel.nl_groups;
  if (is_wide || (to.any.sa_family == AF_UNIX && is_named)) return -s.errors[WRITE];
  if (!still_asks(asked->id)) return -ENOENT;
  return bind(socket, &to.any, (socklen_t)bytes) ? -errno : 0;
}

static void answer_bind(const struct seccomp_notif *asked) {
  int socket = copy_descriptor((pid_t)asked->pid, (int)asked->data.args[0]);
  int failed = socket < 0 ? socket : bind_for(asked, socket);
  if (socket >= 0) close(socket);
  if (failed == -s.errors[WRITE]) {
    s.denied++;
    report((pid_t)asked->pid, asked->data.nr, WRITE, 1, 1, NULL);
  }
  send_answer(asked->id, 0, failed, 0);
}

/* Arguments of an open by any of its calls; 0 if unreadable. */
static int open_arguments(const struct seccomp_notif *asked, int *folder, uint64_t *path, struct open_how *how) {
  const __u64 *args = asked->data.args;
  memset(how, 0, sizeof *how);
  *folder = AT_FDCWD;
  switch (asked->data.nr) {
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
      return args[3] >= sizeof *how && read_bytes((pid_t)asked->pid, args[2], how, sizeof *how) == 0;
    default:
      return 0;
  }
}

static int is_open(int call) {
#ifdef SYS_open
  if (call == SYS_open || call == SYS_creat) return 1;
#endif
  return call == SYS_openat || call == SYS_openat2;
}

static uint64_t turned(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

static void sip_round(uint64_t v[4]) {
  v[0] += v[1], v[2] += v[3];
  v[1] = turned(v[1], 13) ^ v[0], v[3] = turned(v[3], 16) ^ v[2];
  v[0] = turned(v[0], 32);
  v[2] += v[1], v[0] += v[3];
  v[1] = turned(v[1], 17) ^ v[2], v[3] = turned(v[3], 21) ^ v[0];
  v[2] = turned(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012), keyed: without the key a guest cannot construct collisions that
 * would suppress a report. */
static uint64_t sip_hash(const uint64_t key[2], const char *text, size_t length) {
  uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                   key[1] ^ 0x7465646279746573u};
  size_t bytes = 8;
  for (size_t at = 0; bytes == 8; at += 8) {
    bytes = length - at < 8 ? length - at : 8;
    uint64_t word = bytes < 8 ? (uint64_t)length << 56 : 0;
    for (size_t i = 0; i < bytes; i++) word |= (uint64_t)(unsigned char)text[at + i] << 8 * i;
    v[3] ^= word;
    sip_round(v), sip_round(v);
    v[0] ^= word;
  }
  v[2] ^= 0xff;
  for (int i = 0; i < 4; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Deduplicates paths by a table of hashes; a flood evicts the oldest. */
static struct {
  uint64_t key[2][2], told[SEEN_MAX];
} paths;

static void key_paths(void) {
  if (getrandom(paths.key, sizeof paths.key, 0) != (ssize_t)sizeof paths.key) _exit(BAD_START);
}

static uint64_t hash_of(const char *text, int writes) { return sip_hash(paths.key[writes != 0], text, strlen(text)); }
static int is_told(uint64_t hash) { return paths.told[hash % SEEN_MAX] == hash; }
static void have_told(uint64_t hash) { paths.told[hash % SEEN_MAX] = hash; }

/* System folders read by every program at start. For reports only. */
static int is_usual(const char *path) {
  static const char *const usual[] = {"/usr/", "/lib/", "/lib64/", "/opt/mayfly/", "/etc/ld.so.cache"};
  if (strstr(path, "..")) return 0;
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
    if (!strncmp(path, usual[i], strlen(usual[i]))) return 1;
  return 0;
}

/* ---- secrets in the wall, watched by inode ---- The kernel reads a path again after its report, and another
 * thread may have changed it (TOCTOU). So a file in a secret's place is watched by inotify from its creation: a
 * read by any name or link is seen. */
static struct {
  char path[PATH_BYTES_MAX];
  int wd, tries, opens;
  uint64_t since;
} watched[WATCHED_MAX];
static int watched_count, unwatched_count, watch_fd = -1;

/* Registers the name before the file exists. */
static void watch_soon(const char *real) {
  for (int i = 0; i < watched_count; i++)
    if (!strcmp(watched[i].path, real)) return;
  if (watched_count == WATCHED_MAX) {
    s.left_out++;
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

static void forget_watched(int i) {
  if (watched[i].wd < 0) unwatched_count--;
  watched[i] = watched[--watched_count];
}

static void begin_watching(void) {
  for (int i = watched_count - 1; i >= 0 && unwatched_count > 0; i--) {
    if (watched[i].wd >= 0) continue;
    char name[64];
    int fd = open_below(s.root, watched[i].path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (fd < 0) {
      if (++watched[i].tries >= TRIES_MAX) forget_watched(i);
      continue;
    }
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(watch_fd, name, IN_OPEN | IN_ACCESS | IN_CLOSE);
    close(fd);
    if (wd < 0) {
      forget_watched(i);
      continue;
    }
    watched[i].wd = wd;
    unwatched_count--;
  }
}

static void tell_watched(int i) {
  watched[i].opens = 0;
  uint64_t hash = hash_of(watched[i].path, 0);
  if (!is_told(hash) && report(s.entered, SYS_openat, OUTSIDE, 0, 0, watched[i].path)) have_told(hash);
}

static void saw_watched(const struct inotify_event *seen) {
  int i = 0;
  if (seen->mask & IN_Q_OVERFLOW) s.left_out++;
  while (i < watched_count && watched[i].wd != seen->wd) i++;
  if (i == watched_count || watched[i].wd < 0) return;
  if (seen->mask & (IN_ACCESS | IN_CLOSE_NOWRITE)) tell_watched(i);
  if (seen->mask & IN_OPEN && watched[i].opens++ == 0) watched[i].since = now_ns();
  if (seen->mask & IN_CLOSE_WRITE && watched[i].opens > 0) watched[i].opens--;
  if (seen->mask & IN_IGNORED) forget_watched(i);
}

/* Also detects a process that maps the file and never closes it. */
static void look_at_watched(void) {
  char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
  ssize_t n;
  if (watch_fd < 0) return;
  while ((n = read(watch_fd, events, sizeof events)) > 0)
    for (ssize_t at = 0; at < n;) {
      const struct inotify_event *seen = (const struct inotify_event *)(events + at);
      saw_watched(seen);
      at += (ssize_t)(sizeof *seen + seen->len);
    }
  for (int i = 0; i < watched_count; i++)
    if (watched[i].opens > 0 && now_ns() - watched[i].since > OPEN_MS_MAX * 1000000ull) tell_watched(i);
}

static int watched_open(void) {
  int opens = 0;
  for (int i = 0; i < watched_count; i++) opens += watched[i].opens;
  return opens;
}

/* An open for reading and writing, or with O_CREAT, may read: for a secret that counts. */
static void tell_open(const struct seccomp_notif *asked, int folder, const char *path, uint64_t flags) {
  char real[PATH_BYTES_MAX];
  real_path((pid_t)asked->pid, folder, path, 0, real, sizeof real);
  int writes = flags_write(flags) && ((flags & O_ACCMODE) == O_WRONLY || !is_secret(real));
  if (!writes && is_usual(real)) return;
  if (flags_write(flags) && is_secret(real)) watch_soon(real);
  uint64_t hash = hash_of(real, writes);
  if (is_told(hash) || !still_asks(asked->id)) return;
  if (report((pid_t)asked->pid, asked->data.nr, writes ? WRITE : OUTSIDE, 0, writes, real)) have_told(hash);
}

static void answer_open(const struct seccomp_notif *asked) {
  pid_t pid = (pid_t)asked->pid;
  int folder, is_judged = (s.allowed & (1 << WRITE | 1 << OUTSIDE)) != (1 << WRITE | 1 << OUTSIDE);
  uint64_t at = 0;
  struct open_how how;
  /* Not judged here: let the kernel continue. */
  if (!is_judged && !s.reports) return go_on(asked);
  char path[PATH_BYTES_MAX] = "";
  if (!open_arguments(asked, &folder, &at, &how)) {
    if (!is_judged) return go_on(asked);
    return send_answer(asked->id, 0, -ENOSYS, 0);
  }
  int writes = flags_write(how.flags), failed = read_text(pid, at, path, sizeof path);
  if (!is_judged) {
    if (!failed && (writes || !is_usual(path))) tell_open(asked, folder, path, how.flags);
    return go_on(asked);
  }
  if (!failed && !still_asks(asked->id)) return;
  /* `resolve` flags are not supported: fails with ENOSYS, so that the caller falls back to openat. */
  if (!failed && how.resolve) failed = -ENOSYS;
  int fd = failed ? failed : open_for(pid, folder, path, how.flags, how.mode);
  int class = writes && !(s.allowed & 1 << WRITE) ? WRITE : OUTSIDE;
  if (fd == -s.errors[class]) {
    char real[PATH_BYTES_MAX] = "";
    s.denied++;
    if (s.reports) real_path(pid, folder, path, 0, real, sizeof real);
    report(pid, asked->data.nr, class, 1, writes, real);
  }
  if (fd < 0) return send_answer(asked->id, 0, fd, 0);
  if (s.reports && (writes || !is_usual(path))) tell_open(asked, folder, path, how.flags);
  give_descriptor(asked->id, fd, writes, (how.flags & O_CLOEXEC) != 0);
}

/* Pending execs, delayed until the warden has moved the process into its cgroup. */
static struct {
  struct seccomp_notif asked;
  uint64_t until;
} execs[EXECS_MAX];
static int exec_count;

static void end_exec(int i, int error) {
  struct seccomp_notif asked = execs[i].asked;
  execs[i] = execs[--exec_count];
  if (!error && !(s.allowed & 1 << EXEC)) error = s.errors[EXEC];
  if (error) send_answer(asked.id, 0, -error, 0);
  else go_on(&asked);
}

static void expire_execs(void) {
  for (int i = exec_count - 1; i >= 0; i--)
    if (execs[i].until <= now_ns()) end_exec(i, EAGAIN);
}

/* Interpreter of a script: the first word after `#!`, within the kernel's limit. */
static void interpreter_of(int found, char *to, size_t room) {
  char name[64], line[INTERPRETER_BYTES_MAX + 1] = "";
  struct stat facts;
  to[0] = 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", found);
  if (fstat(found, &facts) || !S_ISREG(facts.st_mode)) return;
  /* O_NONBLOCK: a lease on the file must not block this open. */
  int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t n = read(fd, line, INTERPRETER_BYTES_MAX);
  close(fd);
  if (n < 2 || line[0] != '#' || line[1] != '!') return;
  char *at = line + 2 + strspn(line + 2, " \t");
  at[strcspn(at, " \t\n")] = 0;
  int by = *at == '/' ? open_below(s.root, at, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT) : -1;
  snprintf(name, sizeof name, "/proc/self/fd/%d", by);
  if (by < 0 || link_to(name, to, room)) snprintf(to, room, "%s", at);
  if (by >= 0) close(by);
}

/* File that an exec would run if its path were resolved now; for reports. The final one may differ: the warden
 * checks again once it runs. */
static int found_for(pid_t pid, int folder, const char *path, int is_descriptor) {
  char whole[PATH_BYTES_MAX * 2];
  if (is_descriptor) return copy_descriptor(pid, folder);
  int failed = whole_path(pid, folder, path, whole, sizeof whole);
  return failed ? failed : open_below(s.root, whole, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
}

/* Time of the last change (ctime), the only one that cannot be set: an overwritten file with restored mtime
 * still counts as new. Milliseconds of CLOCK_MONOTONIC; below 0 if unknown. */
static double written_at(int fd) {
  struct statx facts;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_CTIME, &facts) || !S_ISREG(facts.stx_mode)) return -1;
  double at = (double)facts.stx_ctime.tv_sec * 1e3 + (double)facts.stx_ctime.tv_nsec / 1e6;
  at += ((double)ns_of(CLOCK_MONOTONIC) - (double)ns_of(CLOCK_REALTIME)) / 1e6;
  return at < 0 ? 0 : at;
}

/* Lookups along PATH fail in most folders: a missing file is reported only after more failures than PATH has
 * folders. A file created between this check and the kernel's own goes unreported. */
#define VAIN_EXECS_MAX 32
static int is_in_vain(const char *path, int found) {
  static int vain;
  if (path[0] && (found == -ENOENT || found == -ENOTDIR)) return ++vain <= VAIN_EXECS_MAX;
  vain = 0;
  return 0;
}

static void report_exec(const struct seccomp_notif *asked, int is_denied) {
  const __u64 *args = asked->data.args;
  pid_t pid = (pid_t)asked->pid;
  int is_at = asked->data.nr == SYS_execveat, folder = is_at ? (int)args[0] : AT_FDCWD;
  char path[PATH_BYTES_MAX] = "", real[PATH_BYTES_MAX] = "", name[64];
  if (read_text(pid, args[is_at ? 1 : 0], path, sizeof path)) path[0] = 0;
  int is_descriptor = is_at && !path[0] && args[4] & AT_EMPTY_PATH;
  double wrote = -1;
  int found = is_descriptor || path[0] ? found_for(pid, folder, path, is_descriptor) : -ENOENT;
  if (!is_denied && is_in_vain(path, found)) return;
  snprintf(name, sizeof name, "/proc/self/fd/%d", found);
  if (!is_descriptor || found < 0 || link_to(name, real, sizeof real))
    real_path(pid, folder, path, found != -ELOOP, real, sizeof real);
  /* By a magic link, resolved in user space. */
  if (found == -ELOOP) found = open_below(s.root, real, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
  if (found >= 0 && !is_usual(real)) wrote = written_at(found);
  if (found >= 0) close(found);
  report_run(pid, asked->data.nr, EXEC, is_denied, 0, real, wrote);
}

static void report_scalar(const struct seccomp_notif *asked, int class, int is_denied) {
  int call = asked->data.nr;
  if (!s.reports || (s.used[call] && !is_denied && class != EXEC)) return;
  s.used[call] = 1;
  if (class == EXEC) report_exec(asked, is_denied);
  else report((pid_t)asked->pid, call, class, is_denied, class == WRITE, NULL);
}

/* Errno of an exec that must fail: the process stays unchanged, and tries the next folder of PATH. */
static int cannot_run(int found) {
  struct stat facts;
  /* A magic link, such as /proc/self/exe: its target is seen once it runs. */
  if (found == -ELOOP) return 0;
  if (found < 0) return found;
  if (fstat(found, &facts)) return -EACCES;
  return S_ISREG(facts.st_mode) && facts.st_mode & 0111 ? 0 : -EACCES;
}

static void quote_end(char *to, size_t room, const char *from) {
  size_t length = strlen(from);
  quote(to, room, from + (length > SHOWN_BYTES_MAX ? length - SHOWN_BYTES_MAX : 0));
}

static void ask_exec(const struct seccomp_notif *asked) {
  const __u64 *args = asked->data.args;
  pid_t pid = (pid_t)asked->pid;
  int is_at = asked->data.nr == SYS_execveat;
  char path[PATH_BYTES_MAX] = "", real[PATH_BYTES_MAX] = "", by[PATH_BYTES_MAX] = "", name[64], line[LINE_BYTES_MAX];
  char shown[3][SHOWN_BYTES_MAX * 6 + 8];
  long group = status_of(pid, "\nTgid:", 10, 0);
  int failed = read_text(pid, args[is_at ? 1 : 0], path, sizeof path);
  if (failed || group <= 0) return send_answer(asked->id, 0, failed ? failed : -EAGAIN, 0);
  int is_descriptor = is_at && !path[0] && args[4] & AT_EMPTY_PATH;
  int found = found_for(pid, is_at ? (int)args[0] : AT_FDCWD, path, is_descriptor);
  failed = cannot_run(found);
  /* A program that re-executes itself by the magic link. */
  int is_own = found == -ELOOP && !strcmp(path, "/proc/self/exe");
  snprintf(name, sizeof name, is_own ? "/proc/%d/exe" : "/proc/self/fd/%d", is_own ? pid : found);
  if ((found < 0 && !is_own) || link_to(name, real, sizeof real)) real[0] = 0;
  if (found >= 0) interpreter_of(found, by, sizeof by), close(found);
  if (failed) return send_answer(asked->id, 0, failed, 0);
  if (!still_asks(asked->id)) return;
  quote_end(shown[0], sizeof shown[0], path);
  quote_end(shown[1], sizeof shown[1], real);
  quote_end(shown[2], sizeof shown[2], by);
  int n = snprintf(line, sizeof line,
                   "{\"kind\":\"asks\",\"id\":\"%llu\",\"pid\":%ld,\"path\":\"%s\",\"real\":\"%s\",\"by\":\"%s\"}\n",
                   (unsigned long long)asked->id, group, shown[0], shown[1], shown[2]);
  if (exec_count == EXECS_MAX || !say_within(OUT_BYTES_EVENTS, line, n)) return send_answer(asked->id, 0, -EAGAIN, 0);
  execs[exec_count].asked = *asked;
  execs[exec_count++].until = now_ns() + EXEC_MS_MAX * 1000000ull;
}

static void answer(const struct seccomp_notif *asked) {
  int call = asked->data.nr;
  if (call < 0 || call >= CALLS_MAX || !s.class_of[call]) return send_answer(asked->id, 0, -EPERM, 0);
  int class = s.class_of[call] - 1;
  if (is_open(call)) return answer_open(asked);
  if (call == SYS_connect && !(s.allowed & 1 << NETWORK)) return answer_connect(asked);
  if (call == SYS_bind && !(s.allowed & 1 << WRITE)) return answer_bind(asked);
  int is_denied = !(s.allowed & 1 << class);
  s.denied += (uint64_t)is_denied;
  report_scalar(asked, class, is_denied);
  if (is_denied) send_answer(asked->id, 0, -s.errors[class], 0);
  else if (class == EXEC && s.asks) ask_exec(asked);
  else go_on(asked);
}

static struct seccomp_notif received[RECEIVED_MAX];
static int received_first, received_count;

/* The kernel's structure may be larger than ours: extra bytes are ignored. */
static int receive(struct seccomp_notif *to) {
  static struct seccomp_notif *asked;
  static size_t bytes;
  if (!asked) {
    struct seccomp_notif_sizes sizes = {0};
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes)) end_wall(BAD_START);
    bytes = sizes.seccomp_notif > sizeof *asked ? sizes.seccomp_notif : sizeof *asked;
    if (!(asked = malloc(bytes))) end_wall(BAD_START);
  }
  memset(asked, 0, bytes);
  if (ioctl(s.listener, SECCOMP_IOCTL_NOTIF_RECV, asked)) {
    if (errno != ENOENT && errno != EINTR) end_wall(ENDED_WELL);
    return 0;
  }
  *to = *asked;
  return 1;
}

/* Until a request is received, a signal to its caller interrupts it with EINTR, which not every program expects
 * of an open: receive all before answering any. */
static void receive_all(void) {
  struct pollfd on = {.fd = s.listener, .events = POLLIN};
  while (received_count < RECEIVED_MAX) {
    received_count += receive(&received[(received_first + received_count) % RECEIVED_MAX]);
    if (poll(&on, 1, 0) != 1 || !(on.revents & POLLIN)) return;
  }
}

/* A single request per loop pass, so that a flood cannot starve the control socket. */
static void answer_one(void) {
  const struct seccomp_notif *asked = &received[received_first];
  received_first = (received_first + 1) % RECEIVED_MAX;
  received_count--;
  answer(asked);
}

/* ---- phases ---- */

static int traced_count;

static void let_go(pid_t tid, int status) {
  int signal = status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
  ptrace(PTRACE_DETACH, tid, 0, signal);
}

/* A ptrace stop is on return to user mode, hence after the call. */
static void is_past(pid_t tid) {
  for (int i = 0; i < TASKS_MAX; i++)
    if (tasks[i].tid == tid && tasks[i].is_traced) forget(&tasks[i]);
}

static void let_go_of_stopped(void) {
  for (int status, tid; traced_count > 0 && (tid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
    if (tid == s.capturing) {
      s.capturing = 0;
      continue;
    }
    traced_count--;
    is_past(tid);
    if (WIFSTOPPED(status)) let_go(tid, status);
  }
}

/* Start time of a thread, in ticks since boot; 0 if unknown. */
static uint64_t began_at(pid_t tid) {
  char name[64], text[1024];
  snprintf(name, sizeof name, "/proc/%d/stat", tid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  char *at = strrchr(text, ')');
  for (int field = 2; at && field < BEGAN_FIELD; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at, NULL, 10) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK)) : 0;
}

/* True if the pid was reused: another PID namespace, or a later start time. */
static int is_another(pid_t tid, uint64_t since) {
  ino_t table = table_of(tid);
  return (table && table != s.processes) || began_at(tid) > since;
}

/* Kills a process that cannot be traced: unreadable, or traced inside the wall. By pidfd, and verified again
 * after opening it, because of pid reuse. */
static void end_unseen(struct task *task) {
  int process = (int)syscall(SYS_pidfd_open, task->tid, PIDFD_THREAD);
  if (process < 0) process = (int)syscall(SYS_pidfd_open, status_of(task->tid, "\nTgid:", 10, 0), 0);
  if (process >= 0 && !is_another(task->tid, task->at))
    task->is_killed = syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) == 0;
  if (process >= 0) close(process);
}

/* A pending request proves that the thread's previous call has finished. */
static int asks_again(pid_t tid) {
  for (int i = 0; i < received_count; i++)
    if ((pid_t)received[(received_first + i) % RECEIVED_MAX].pid == tid) return 1;
  for (int i = 0; i < exec_count; i++)
    if ((pid_t)execs[i].asked.pid == tid) return 1;
  return 0;
}

/* True if the thread's continued call has finished; otherwise it is interrupted and stopped on its way out
 * (PTRACE_INTERRUPT). */
static int is_over(struct task *task) {
  pid_t tid = task->tid;
  if (asks_again(tid)) return 1;
  if (task->is_traced || task->is_killed) return has_ended(tid);
  if (has_ended(tid) && task->group > 0 && task->group != tid) tid = task->tid = task->group;
  if (has_ended(tid) || is_another(tid, task->at) || !may_still(tid, task->call)) return 1;
  if (ptrace(PTRACE_SEIZE, tid, 0, 0) == 0) {
    ptrace(PTRACE_INTERRUPT, tid, 0, 0);
    traced_count++;
    task->is_traced = 1;
  } else if (errno == ESRCH || has_ended(tid)) {
    return 1;
  } else if (status_of(tid, "\nTracerPid:", 10, 0) == getpid()) {
    task->is_traced = 1;
  } else if (now_ns() > task->settles + SETTLE_US * 1000u) {
    end_unseen(task);
  }
  return 0;
}

/* A call continued a moment ago may still be runnable, or inside the kernel. Each thread whose last call was of
 * a closed class is driven to its return to user mode, which is after the call, and released; an interrupted
 * call is restarted and asks again. The program does not notice. A phase holds when all of them are past; on a
 * timeout the wall is ended. */
static void begin_settling(uint8_t withdrawn) {
  uint64_t now = now_ns();
  for (int i = 0; i < TASKS_MAX; i++) {
    struct task *task = &tasks[i];
    if (!task->tid || task->settles) continue;
    uint8_t classes = (uint8_t)(1 << (s.class_of[task->call] - 1));
    if (is_open(task->call)) classes = 1 << WRITE | 1 << OUTSIDE;
    if (!(classes & withdrawn)) continue;
    task->settles = now;
    settling_count++;
  }
}

static void settle(void) {
  let_go_of_stopped();
  for (int i = 0; settling_count > 0 && i < TASKS_MAX; i++)
    if (tasks[i].settles && is_over(&tasks[i])) forget(&tasks[i]);
}

static int is_hopeless(void) {
  uint64_t oldest = UINT64_MAX;
  for (int i = 0; i < TASKS_MAX; i++)
    if (tasks[i].settles && tasks[i].settles < oldest) oldest = tasks[i].settles;
  return settling_count > 0 && now_ns() > oldest + SETTLE_MS_MAX * 1000000ull;
}

static _Noreturn void give_up(const char *why, int status) {
  SAY("{\"kind\":\"ended\",\"generation\":%u,\"why\":\"%s\"}\n", s.generation, why);
  end_wall(status);
}

/* New processes are limited by pids.max and not by requests: a fork that waits for an answer could be
 * interrupted, which no program expects. Without a cgroup the warden lowers its own bound. */
static void start_none(void) {
  char text[16] = "";
  if (s.bound < 0) return;
  if (pwrite(s.bound, "0", 1, 0) == 1 && pread(s.bound, text, sizeof text - 1, 0) > 0 && !strcmp(text, "0\n")) return;
  give_up("unheld", UNHELD);
}

/* Closed phases whose continued calls may be unfinished, and the client to notify. */
static struct phase unheld[PHASES_MAX];
static int unheld_count;
static struct {
  uint32_t generation;
  uint64_t asked;
} unanswered[PHASES_MAX];
static int unanswered_count;

/* Watchdog: if this process itself blocks on the wall until a phase is late, the timer kills it, and the warden
 * then ends the wall. */
static void mind_the_time(void) {
  uint64_t now = now_ns(), due = s.phase_count > 0 ? s.phases[0].at : UINT64_MAX;
  if (unheld_count > 0 && unheld[0].at < due) due = unheld[0].at;
  uint64_t late = due == UINT64_MAX ? 0 : (due > now ? due - now : 0) + LATE_MS_MAX * 1000000ull;
  struct itimerspec at = {.it_value = {.tv_sec = (time_t)(late / 1000000000u), .tv_nsec = (long)(late % 1000000000u)}};
  if (s.has_alarm) syscall(SYS_timer_settime, s.alarm, 0, &at, NULL);
}

static void say_held(void) {
  uint64_t now = now_ns();
  for (int i = 0; i < unheld_count; i++)
    SAY("{\"kind\":\"flipped\",\"t\":%.3f,\"generation\":%u,\"allow\":%u,\"lateUs\":%llu}\n", (double)now / 1e6,
        unheld[i].generation, s.allowed, (unsigned long long)((now - unheld[i].at) / 1000));
  for (int i = 0; i < unanswered_count; i++)
    SAY("{\"kind\":\"table\",\"t\":%.3f,\"generation\":%u,\"allow\":%u,\"planned\":%d,\"tookUs\":%llu}\n",
        (double)now / 1e6, unanswered[i].generation, s.allowed, s.phase_count,
        (unsigned long long)((now - unanswered[i].asked) / 1000));
  unheld_count = unanswered_count = 0;
  mind_the_time();
}

/* A phase that cannot be confirmed is never reported as holding. */
static void go_on_settling(void) {
  settle();
  if (is_hopeless()) give_up("unsettled", UNSETTLED);
  if (settling_count == 0) say_held();
}

static void apply(const struct phase *phase) {
  uint8_t withdrawn = s.allowed & (uint8_t)~phase->allow;
  for (int class = 0; class < CLASSES; class ++)
    if (withdrawn & 1 << class) s.errors[class] = phase->errors[class];
  s.allowed &= phase->allow;
  s.generation = phase->generation;
  if (phase->kills) give_up("time", AT_END);
  if (withdrawn & 1 << PROCESS) start_none();
  if (withdrawn) judge_giving();
  if (withdrawn && s.forgotten) give_up("unsettled", UNSETTLED);
  if (withdrawn) begin_settling(withdrawn);
  unheld[unheld_count++] = *phase;
}

static void apply_due(void) {
  int before = s.phase_count;
  while (s.phase_count > 0 && s.phases[0].at <= now_ns()) {
    struct phase due = s.phases[0];
    s.phase_count--;
    memmove(s.phases, s.phases + 1, (size_t)s.phase_count * sizeof due);
    apply(&due);
  }
  if (s.phase_count == before) return;
  mind_the_time();
  uint64_t until = now_ns() + SETTLE_US * 1000u;
  for (settle(); settling_count > 0 && now_ns() < until; settle()) usleep(50);
  go_on_settling();
}

static void plan(const struct phase *phase) {
  int at = s.phase_count++;
  for (; at > 0 && s.phases[at - 1].at > phase->at; at--) s.phases[at] = s.phases[at - 1];
  s.phases[at] = *phase;
}

/* ---- control messages ---- */

static uint32_t u32_at(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Tables are added to the planned ones and never replace them. */
static int take_table(const uint8_t *at, size_t bytes) {
  if (bytes < 5 || at[4] == 0 || bytes != 5 + (size_t)at[4] * PHASE_BYTES) return 0;
  uint32_t generation = u32_at(at);
  if (s.phase_count + unheld_count + at[4] > PHASES_MAX || unanswered_count == PHASES_MAX) {
    SAY("{\"kind\":\"refused\",\"generation\":%u,\"why\":\"too many phases\"}\n", generation);
    return 1;
  }
  uint64_t now = now_ns();
  for (int i = 0; i < at[4]; i++) {
    const uint8_t *row = at + 5 + i * PHASE_BYTES;
    struct phase phase = {.at = now + (uint64_t)u32_at(row) * 1000000u, .generation = generation, .allow = row[4]};
    if (row[4] & ~ALL || row[5] > 1) return 0;
    phase.kills = row[5];
    for (int class = 0; class < 6; class ++) phase.errors[class] = row[6 + class] ? row[6 + class] : EPERM;
    plan(&phase);
  }
  unanswered[unanswered_count].generation = generation;
  unanswered[unanswered_count++].asked = now;
  apply_due();
  mind_the_time();
  if (settling_count == 0) say_held();
  return 1;
}

static void tell_status(uint32_t nonce) {
  SAY("{\"kind\":\"status\",\"nonce\":%u,\"t\":%.3f,\"generation\":%u,\"allow\":%u,\"planned\":%d,\"answered\":%llu,"
      "\"denied\":%llu,\"leftOut\":%llu,\"waits\":%d,\"unsettled\":%d}\n",
      nonce, (double)now_ns() / 1e6, s.generation, s.allowed, s.phase_count, (unsigned long long)s.answered,
      (unsigned long long)s.denied, (unsigned long long)s.left_out, waiting_count + giving_count, settling_count);
}

/* ---- memory ---- */

static void write_all(const void *from, size_t bytes) {
  const char *at = from;
  for (ssize_t n; bytes > 0; at += n, bytes -= (size_t)n) {
    n = write(CAPTURE_FD, at, bytes);
    if (n < 0 && errno == EINTR) n = 0;
    else if (n <= 0) _exit(1);
  }
}

/* True for the wall's own PID namespace: this process could read others of its uid. */
static int is_of_wall(pid_t pid) {
  ino_t theirs = table_of(pid);
  return s.processes != 0 && theirs == s.processes;
}

/* Linux 6.7 and later (PAGEMAP_SCAN); missing in older headers. */
struct region {
  uint64_t from, to, kinds;
};
struct scan {
  uint64_t size, flags, from, to, reached, regions, regions_max, pages_max, inverted, all_of, any_of, told;
};
enum { OF_FILE = 1 << 2, PRESENT = 1 << 3, SWAPPED = 1 << 4, ZEROS = 1 << 5, REGIONS_MAX = 64 };
#define SCAN_PAGES _IOWR('f', 16, struct scan)

/* Memory of one process, by descriptors that stay valid across pid reuse. */
struct source {
  pid_t pid;
  int memory, pages;
  uint64_t left;
};

/* Each region is a JSON header, a newline and its bytes; all-zero pages and unreadable ones are skipped. */
static void copy_stretch(struct source *source, uint64_t from, uint64_t to) {
  static char page[65536];
  static const char zeros[sizeof page];
  char head[160];
  while (from < to && source->left > 0) {
    uint64_t piece = to - from < sizeof page ? to - from : sizeof page;
    if (piece > source->left) piece = source->left;
    ssize_t n = pread(source->memory, page, piece, (off_t)from);
    if (n <= 0) return;
    if (memcmp(page, zeros, (size_t)n)) {
      int bytes = snprintf(head, sizeof head, "{\"pid\":%d,\"from\":\"%llx\",\"bytes\":%zd}\n", source->pid,
                           (unsigned long long)from, n);
      write_all(head, (size_t)bytes);
      write_all(page, (size_t)n);
      source->left -= (uint64_t)n;
    }
    from += (uint64_t)n;
  }
}

/* Copies private pages that were written, whatever their protection is now; for shared mappings, all pages
 * touched. Returns 0 if the kernel lacks PAGEMAP_SCAN. */
static int copy_own(struct source *source, uint64_t from, uint64_t to, int is_shared) {
  struct region regions[REGIONS_MAX];
  uint64_t never = is_shared ? ZEROS : ZEROS | OF_FILE;
  while (from < to && source->left > 0) {
    struct scan scan = {
        .size = sizeof scan,
        .from = from,
        .to = to,
        .regions = (uint64_t)(uintptr_t)regions,
        .regions_max = REGIONS_MAX,
        .inverted = never,
        .all_of = never,
        .any_of = PRESENT | SWAPPED,
        .told = PRESENT,
    };
    int count = ioctl(source->pages, SCAN_PAGES, &scan);
    if (count < 0) return errno == EINTR ? 1 : 0;
    for (int i = 0; i < count; i++) copy_stretch(source, regions[i].from, regions[i].to);
    if (scan.reached <= from) return 1;
    from = scan.reached;
  }
  return 1;
}

static void copy_area(struct source *source, const char *line) {
  unsigned long long from, to;
  char rights[8];
  if (sscanf(line, "%llx-%llx %7s", &from, &to, rights) != 3) return;
  if (copy_own(source, from, to, rights[3] == 's')) return;
  if (rights[0] == 'r' && rights[1] == 'w') copy_stretch(source, from, to);
}

static int open_of(pid_t pid, const char *what) {
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/%s", pid, what);
  return open(name, O_RDONLY | O_CLOEXEC);
}

static uint64_t capture_process(pid_t pid, uint64_t left) {
  char line[1024];
  int areas = open_of(pid, "maps");
  struct source source = {.pid = pid, .memory = open_of(pid, "mem"), .pages = open_of(pid, "pagemap"), .left = left};
  FILE *maps = areas < 0 || source.memory < 0 ? NULL : fdopen(areas, "r");
  /* All three are open: check now whose memory they are. */
  if (maps && is_of_wall(pid)) {
    while (source.left > 0 && fgets(line, sizeof line, maps)) copy_area(&source, line);
  } else {
    int n = snprintf(line, sizeof line, "{\"pid\":%d,\"refused\":true}\n", pid);
    write_all(line, (size_t)n);
  }
  if (maps) fclose(maps);
  else if (areas >= 0) close(areas);
  if (source.memory >= 0) close(source.memory);
  if (source.pages >= 0) close(source.pages);
  return left - source.left;
}

static _Noreturn void capture(const pid_t *pids, int count, uint64_t bytes_max) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  fcntl(CAPTURE_FD, F_SETFL, fcntl(CAPTURE_FD, F_GETFL) & ~O_NONBLOCK);
  uint64_t left = bytes_max;
  for (int i = 0; i < count && left > 0; i++) left -= capture_process(pids[i], left);
  const char *end = left > 0 ? "{\"end\":true,\"isWhole\":true}\n" : "{\"end\":true,\"isWhole\":false}\n";
  write_all(end, strlen(end));
  _exit(0);
}

static int take_capture(const uint8_t *at, size_t bytes) {
  static pid_t pids[CAPTURED_MAX];
  if (bytes < 12 || bytes > 8 + 4 * CAPTURED_MAX || bytes % 4) return 0;
  uint64_t bytes_max = (uint64_t)u32_at(at) | (uint64_t)u32_at(at + 4) << 32;
  int count = 0;
  for (size_t i = 8; i < bytes; i += 4) {
    pid_t pid = (pid_t)u32_at(at + i);
    if (pid > 0 && is_of_wall(pid)) pids[count++] = pid;
  }
  if (s.capturing && waitpid(s.capturing, NULL, WNOHANG) == s.capturing) s.capturing = 0;
  pid_t child = s.capturing || count == 0 ? -1 : fork();
  if (child == 0) capture(pids, count, bytes_max);
  if (child > 0) s.capturing = child;
  SAY("{\"kind\":\"capturing\",\"processes\":%d}\n", child > 0 ? count : 0);
  return 1;
}

static int take_exec(const uint8_t *at, size_t bytes) {
  if (bytes != 9) return 0;
  uint64_t id = (uint64_t)u32_at(at) | (uint64_t)u32_at(at + 4) << 32;
  for (int i = exec_count - 1; i >= 0; i--)
    if (execs[i].asked.id == id) end_exec(i, at[8]);
  return 1;
}

/* Socket inode of a TCP connection; 0 if unknown. Queries exactly one by sock_diag: reading the whole table
 * takes milliseconds. For an unknown connection the kernel returns the listener, which is not the caller's. */
static uint32_t socket_of(uint32_t from, uint16_t local, uint16_t remote) {
  static char answer[4096] __attribute__((aligned(8)));
  struct {
    struct nlmsghdr head;
    struct inet_diag_req_v2 asked;
  } message = {
      .head = {.nlmsg_len = sizeof message, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
      .asked = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u},
  };
  struct inet_diag_sockid *id = &message.asked.id;
  id->idiag_sport = htons(local);
  id->idiag_dport = htons(remote);
  id->idiag_src[0] = from;
  id->idiag_dst[0] = htonl(INADDR_LOOPBACK);
  id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (s.sockets < 0) return 0;
  if (send(s.sockets, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof message) return 0;
  ssize_t n = recv(s.sockets, answer, sizeof answer, MSG_DONTWAIT);
  struct nlmsghdr *head = (struct nlmsghdr *)answer;
  if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY) return 0;
  const struct inet_diag_msg *found = NLMSG_DATA(head);
  /* An IPv6 socket with an IPv4 peer has the same addresses, v4-mapped. */
  int at = found->idiag_family == AF_INET6 ? 3 : 0;
  int is_it = found->id.idiag_sport == id->idiag_sport && found->id.idiag_dport == id->idiag_dport &&
              found->id.idiag_src[at] == id->idiag_src[0] && found->id.idiag_dst[at] == id->idiag_dst[0];
  return is_it ? found->idiag_inode : 0;
}

static int take_connection(const uint8_t *at, size_t bytes) {
  if (bytes != 12) return 0;
  uint32_t ports = u32_at(at + 4), from;
  memcpy(&from, at + 8, sizeof from);
  SAY("{\"kind\":\"socket\",\"nonce\":%u,\"inode\":%u}\n", u32_at(at),
      socket_of(from, (uint16_t)(ports & 0xffff), (uint16_t)(ports >> 16)));
  return 1;
}

static int take_frame(uint8_t kind, const uint8_t *at, size_t bytes) {
  switch (kind) {
    case 1:
      return take_table(at, bytes);
    case 2:
      if (bytes != 1 || at[0] > 1) return 0;
      s.reports = at[0];
      return 1;
    case 3:
      if (bytes != 4) return 0;
      tell_status(u32_at(at));
      return 1;
    case 4:
      return take_capture(at, bytes);
    case 5:
      if (bytes != 1 || at[0] != 1) return 0;
      s.asks = 1;
      return 1;
    case 6:
      return take_exec(at, bytes);
    case 7:
      return take_connection(at, bytes);
    default:
      return 0;
  }
}

static void take_control(void) {
  static uint8_t in[FRAME_BYTES_MAX];
  static size_t have;
  ssize_t n = recv(CONTROL_FD, in + have, sizeof in - have, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) end_wall(LOST_WARDEN);
  have += (size_t)n;
  while (have >= 4) {
    uint32_t bytes = u32_at(in);
    if (bytes < 1 || bytes > sizeof in - 4) end_wall(BAD_FRAME);
    if (have < 4 + (size_t)bytes) return;
    if (!take_frame(in[4], in + 5, bytes - 1)) end_wall(BAD_FRAME);
    have -= 4 + (size_t)bytes;
    memmove(in, in + 4 + bytes, have);
  }
}

/* ---- the start ---- */

/* SO_PASSCRED: the kernel reports the sender's pid in this namespace. */
static pid_t take_numbers(int32_t numbers[2]) {
  union {
    char bytes[CMSG_SPACE(sizeof(struct ucred))];
    struct cmsghdr align;
  } beside;
  struct iovec part = {numbers, 2 * sizeof *numbers};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &beside, .msg_controllen = sizeof beside};
  if (recvmsg(HANDED_FD, &message, MSG_DONTWAIT) != (ssize_t)(2 * sizeof *numbers)) return -1;
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (!head || head->cmsg_type != SCM_CREDENTIALS) return -1;
  struct ucred who;
  memcpy(&who, CMSG_DATA(head), sizeof who);
  return who.uid == getuid() && who.pid > 0 ? who.pid : -1;
}

static int open_init(pid_t pid) {
  s.processes = table_of(pid);
  for (int up = 0; up < 3 && pid > 1; up++) {
    if (status_of(pid, "\nNSpid:", 10, 1) == 1) return (int)syscall(SYS_pidfd_open, pid, 0);
    pid = (pid_t)status_of(pid, "\nPPid:", 10, 0);
  }
  errno = ESRCH;
  return -1;
}

static void find_scratch(void) {
  static const char *const folders[] = {"work", "tmp", "dev/shm"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    struct stat facts, root;
    int fd = open_below(s.root, folders[i], O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (fd < 0) continue;
    /* A folder on the root's own file system is not scratch. */
    if (fstat(fd, &facts) == 0 && fstat(s.root, &root) == 0 && facts.st_dev != root.st_dev)
      s.scratch[s.scratch_count++] = facts.st_dev;
    close(fd);
  }
}

/* Accepts only a sock_diag socket: the peer is untrusted. */
static int tells_of_sockets(int fd) {
  int domain = 0, protocol = 0;
  socklen_t bytes = sizeof domain, more = sizeof protocol;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) || getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &more)) return 0;
  return domain == AF_NETLINK && protocol == NETLINK_SOCK_DIAG;
}

static void take_listener(void) {
  int32_t numbers[2] = {-1, -1};
  s.entered = take_numbers(numbers);
  if (s.entered < 0) end_wall(NOT_HANDED_OVER);
  s.init = open_init(s.entered);
  s.listener = s.init < 0 ? -1 : copy_descriptor(s.entered, numbers[0]);
  if (s.listener >= 0 && numbers[1] >= 0) s.sockets = copy_descriptor(s.entered, numbers[1]);
  if (s.sockets >= 0 && !tells_of_sockets(s.sockets)) {
    close(s.sockets);
    s.sockets = -1;
  }
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/root", s.entered);
  s.root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (s.listener < 0 || s.root < 0) {
    /* A dying process looks like a refusal for a moment. */
    for (int tries = 0; tries < ENDING_MS && !has_ended(s.entered); tries++) usleep(1000);
    if (has_ended(s.entered)) end_wall(NOT_HANDED_OVER);
    SAY("{\"kind\":\"unready\",\"why\":\"%s\"}\n", s.init < 0 ? "no first process" : "not allowed to look into it");
    end_wall(NOT_HANDED_OVER);
  }
  find_scratch();
  ioctl(s.listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  if (send(HANDED_FD, "T", 1, MSG_NOSIGNAL) != 1) end_wall(NOT_HANDED_OVER);
  close(HANDED_FD);
  SAY("{\"kind\":\"ready\",\"pid\":%d,\"scratch\":%d}\n", s.entered, s.scratch_count);
}

/* Drops system calls this process never needs, as defence in depth. */
static void restrict_self(void) {
#if defined(__x86_64__)
  const uint32_t machine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
  const uint32_t machine = AUDIT_ARCH_AARCH64;
#else
#error "The sentinel knows x86-64 and arm64"
#endif
  static const int refused[] = {SYS_execve,  SYS_execveat,    SYS_mount,  SYS_umount2,        SYS_pivot_root,
                                SYS_chroot,  SYS_setns,       SYS_unshare, SYS_bpf,           SYS_keyctl,
                                SYS_socket,  SYS_init_module, SYS_reboot, SYS_open_by_handle_at, SYS_io_uring_setup,
                                SYS_userfaultfd, SYS_process_vm_writev, SYS_listen};
  enum { REFUSED = sizeof refused / sizeof *refused };
  struct sock_filter code[REFUSED + 6], *at = code;
  *at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, machine, 0, REFUSED + 2);
  *at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < REFUSED; i++)
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)refused[i], (uint8_t)(REFUSED - i), 0);
  *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  if (load_filter(0, (const unsigned char *)code, (uint32_t)((char *)at - (char *)code))) _exit(BAD_START);
}

static void become(uid_t uid) {
  setpriority(PRIO_PROCESS, 0, -15);
  if (getuid() != uid && (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))) _exit(BAD_START);
  if (getuid() == 0 && uid != 0) _exit(BAD_START);
}

static int take_option(const char *word) {
  if (!strncmp(word, "call=", 5)) {
    char *end;
    long call = strtol(word + 5, &end, 10), class = *end == ':' ? strtol(end + 1, &end, 10) : -1;
    if (*end || call < 0 || call >= CALLS_MAX || class < 0 || class >= CLASSES) return 0;
    s.class_of[call] = (uint8_t)(class + 1);
    return 1;
  }
  /* A cgroup file and the value that lifts its bound: opened before the uid changes. */
  if (!strncmp(word, "lift=", 5)) {
    static char names[LIFTS_MAX][512];
    if (s.lift_count == LIFTS_MAX || strlen(word + 5) >= sizeof names[0]) return 0;
    char *name = strcpy(names[s.lift_count], word + 5), *text = strchr(name, ':');
    if (!text) return 0;
    *text++ = 0;
    s.lifts[s.lift_count] = open(name, O_WRONLY | O_CLOEXEC);
    s.lift_texts[s.lift_count] = text;
    if (s.lifts[s.lift_count] >= 0) s.lift_count++;
    return 1;
  }
  /* Substring of a secret's path: opens of it are always reported. */
  if (!strncmp(word, "secret=", 7)) {
    if (s.secret_count == SECRETS_MAX || !word[7]) return 0;
    s.secrets[s.secret_count++] = word + 7;
    return 1;
  }
  /* The bound on its processes (pids.max), in its cgroup. */
  if (!strncmp(word, "bound=", 6)) return (s.bound = open(word + 6, O_RDWR | O_CLOEXEC)) >= 0;
  return 0;
}

static void start(int argc, char **argv) {
  uid_t uid = getuid();
  pid_t parent = getppid();
  close(PROGRAM_FD);
  for (int i = 0; i < argc; i++) {
    if (!strncmp(argv[i], "uid=", 4)) uid = (uid_t)strtoul(argv[i] + 4, NULL, 10);
    else if (!strncmp(argv[i], "parent=", 7)) parent = (pid_t)strtol(argv[i] + 7, NULL, 10);
    else if (!take_option(argv[i])) _exit(BAD_START);
  }
  memset(s.errors, EPERM, sizeof s.errors);
  s.parent = (int)syscall(SYS_pidfd_open, parent, 0);
  become(uid);
  /* Not SIGTERM, which systemd sends to every process of a unit while jobs drain. */
  struct sigaction dies = {.sa_handler = parent_died};
  sigaction(SIGUSR2, &dies, NULL);
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  /* Without SA_RESTART, so that it interrupts system calls. */
  struct sigaction interrupts = {.sa_handler = be_interrupted};
  sigaction(SIGALRM, &interrupts, NULL);
  /* Set last, because a change of uid clears it. Not SIGKILL: it has to end the wall first. */
  prctl(PR_SET_PDEATHSIG, SIGUSR2);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  for (int fd = CONTROL_FD; fd <= CAPTURE_FD; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (s.parent < 0 || getppid() != parent) _exit(LOST_WARDEN);
  /* Without kernel timers, only the warden's timeout remains. */
  struct sigevent ends = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
  s.has_alarm = syscall(SYS_timer_create, CLOCK_MONOTONIC, &ends, &s.alarm) == 0;
  restrict_self();
  int on = 1;
  if (setsockopt(HANDED_FD, SOL_SOCKET, SO_PASSCRED, &on, sizeof on)) _exit(BAD_START);
  if (send(HANDED_FD, "G", 1, MSG_NOSIGNAL) != 1) _exit(NOT_HANDED_OVER);
}

/* CPU time spent here is outside the wall's bounds, and caused by it: beyond its share the sentinel pauses
 * requests. Phases and control messages continue. */
static int must_rest(void) {
  static int64_t spare = BURST_MS * 1000000ll, spent_before;
  static uint64_t before;
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  int64_t spent = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
  uint64_t now = now_ns();
  spare += (int64_t)(now - before) / 256 * SHARE - (spent - spent_before);
  if (before == 0 || spare > BURST_MS * 1000000ll) spare = BURST_MS * 1000000ll;
  before = now;
  spent_before = spent;
  return spare < 0;
}

static int wait_ms(int rests) {
  if (rests) return s.phase_count > 0 && s.phases[0].at < now_ns() + REST_MS * 1000000ull ? 0 : REST_MS;
  if (received_count > 0 && giving_count < GIVING_MAX) return 0;
  if (unheld_count + unanswered_count + traced_count + waiting_count > 0) return 1;
  if (giving_count > 0 && given_in_vain < IN_VAIN_MAX) return 1;
  if (unwatched_count > 0) return 1;
  int opens = watched_open();
  uint64_t most = giving_count > 0 ? IN_VAIN_MS : opens > 0 ? WATCH_LOOK_MS : exec_count > 0 ? EXEC_LOOK_MS : 60000;
  if (s.phase_count == 0) return giving_count > 0 || exec_count > 0 || opens > 0 ? (int)most : -1;
  uint64_t now = now_ns(), at = s.phases[0].at;
  uint64_t ms = at <= now ? 0 : (at - now) / 1000000u;
  return (int)(ms > most ? most : ms);
}

static _Noreturn void watch(int argc, char **argv) {
  key_paths();
  start(argc, argv);
  for (;;) {
    int rests = must_rest();
    struct pollfd on[] = {
        {.fd = CONTROL_FD, .events = (short)(POLLIN | (out_bytes > 0 ? POLLOUT : 0))},
        {.fd = s.parent, .events = POLLIN},
        {.fd = rests ? -1 : s.listener >= 0 ? s.listener : HANDED_FD, .events = POLLIN},
        {.fd = watch_fd, .events = POLLIN},
    };
    int ms = wait_ms(rests);
    /* Polls without sleeping in the last millisecond before a phase. */
    if (poll(on, 4, ms) < 0 && errno != EINTR) end_wall(BAD_START);
    if (s.listener >= 0 && on[2].revents & POLLIN) receive_all();
    apply_due();
    if (on[1].revents) end_wall(LOST_WARDEN);
    /* Control first: a request may depend on the warden's last message. */
    if (on[0].revents & (POLLIN | POLLHUP | POLLERR) || on[2].revents & POLLIN) take_control();
    if (on[0].revents & POLLOUT) flush_out();
    if (waiting_count > 0) try_waiting();
    if (giving_count > 0 && !rests) try_giving();
    if (exec_count > 0) expire_execs();
    if (unwatched_count > 0) begin_watching();
    if (watched_count > 0) look_at_watched();
    if (unheld_count + unanswered_count > 0) go_on_settling();
    else let_go_of_stopped();
    if (rests) continue;
    if (received_count > 0 && giving_count < GIVING_MAX) {
      answer_one();
    } else if (on[2].revents & POLLIN) {
      if (s.listener < 0) take_listener();
    } else if (on[2].revents & (POLLHUP | POLLERR)) {
      look_at_watched();
      _exit(s.listener >= 0 ? ENDED_WELL : NOT_HANDED_OVER);
    }
  }
}

int main(int argc, char **argv) {
  if (argc >= 4 && !strcmp(argv[1], "enter")) enter(argv + 2);
  if (argc >= 2 && !strcmp(argv[1], "watch")) watch(argc - 2, argv + 2);
  return BAD_START;
}

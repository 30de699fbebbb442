/*
 * Access to the caller of a request: copies of its memory, descriptors and state.
 *
 * Problem: arguments in memory may be changed by another thread after they were judged (TOCTOU), and the caller may die,
 * and its pid be reused, while its request is being answered.
 *
 * Mechanism: memory is copied once and judged as the copy. Descriptors are duplicated, so that the object that is judged
 * is the one that is used. The id of a request is valid only while its caller waits for the answer: `is_request_valid` after a
 * read by pid proves that the read was of the caller.
 *
 * Relies on: process_vm_readv(2) (Linux 3.2), pidfd_getfd(2) (Linux 5.6), PIDFD_THREAD (Linux 6.9; else the descriptors of
 * the thread group are used), SECCOMP_IOCTL_NOTIF_ID_VALID in seccomp_unotify(2), proc(5). Reading memory and copying
 * descriptors take the same right as PTRACE_ATTACH, ptrace(2). A keeper relies on /proc/PID/mem and /proc/PID/fd instead.
 *
 * Not handled: a process that is not dumpable (a program without read permission) cannot be read: EACCES.
 */
#define _GNU_SOURCE
#include "caller.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>
#include "wall.h"

enum { WAIT_US_MAX = 1000 };

/* Reads /proc/PID/mem where process_vm_readv(2) is refused: Docker's default seccomp profile allows that only with
 * CAP_SYS_PTRACE. The kernel makes the same ptrace check for both. */
static ssize_t read_file_of(pid_t pid, uint64_t from, void *to, size_t bytes) {
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/mem", pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = pread(fd, to, bytes, (off_t)from);
  int error = errno;
  close(fd);
  errno = error;
  return n;
}

static ssize_t read_memory(pid_t pid, uint64_t from, void *to, size_t bytes) {
  static int is_refused;
  struct iovec here = {to, bytes}, there = {(void *)(uintptr_t)from, bytes};
  ssize_t n = is_refused ? -1 : process_vm_readv(pid, &here, 1, &there, 1, 0);
  if (n >= 0 || (!is_refused && errno != EPERM && errno != ENOSYS)) return n;
  n = read_file_of(pid, from, to, bytes);
  if (n >= 0) is_refused = 1;
  return n;
}

/* Reads page by page: the text may end just before an unmapped page. */
int read_text(pid_t pid, uint64_t from, char *to, size_t room) {
  size_t have = 0;
  while (have < room) {
    size_t want = 4096 - ((from + have) & 4095);
    if (want > room - have) want = room - have;
    ssize_t n = read_memory(pid, from + have, to + have, want);
    if (n <= 0) return n < 0 && (errno == EPERM || errno == EACCES) ? -EACCES : -EFAULT;
    if (memchr(to + have, 0, (size_t)n)) return 0;
    have += (size_t)n;
  }
  return -ENAMETOOLONG;
}

int read_bytes(pid_t pid, uint64_t from, void *to, size_t bytes) {
  return read_memory(pid, from, to, bytes) == (ssize_t)bytes ? 0 : -EFAULT;
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

/* Number after a key at the start of a line of /proc/PID/status. `last`: returns the last of several numbers. */
long status_of(pid_t pid, const char *word, int base, int last) {
  char text[4096];
  char *at = read_status(pid, text, sizeof text) ? strstr(text, word) : NULL;
  if (!at) return -1;
  at += strlen(word);
  long value = strtol(at, &at, base);
  while (last && *at == '\t') value = strtol(at, &at, base);
  return value;
}

/* Inode of its PID namespace; 0 if the process has exited. */
ino_t pid_namespace_of(pid_t pid) {
  char name[64];
  struct stat facts;
  snprintf(name, sizeof name, "/proc/%d/ns/pid", pid);
  return stat(name, &facts) == 0 ? facts.st_ino : 0;
}

/* True if it has exited, even if not yet reaped (zombie). */
int has_ended(pid_t pid) {
  char text[4096];
  char *at = read_status(pid, text, sizeof text) ? strstr(text, "\nState:\t") : NULL;
  return !at || at[8] == 'Z' || at[8] == 'X';
}

int is_request_valid(uint64_t id) { return ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

static void on_alarm(int signal) { (void)signal; }

struct alarm {
  struct sigaction action;
  sigset_t mask;
};

/* Lets signals end each wait of a call: one may come before the wait. */
static void begin_alarm(struct alarm *before) {
  static const struct itimerval soon = {.it_interval = {.tv_usec = WAIT_US_MAX}, .it_value = {.tv_usec = WAIT_US_MAX}};
  static const struct sigaction wakes = {.sa_handler = on_alarm};
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  sigaction(SIGALRM, &wakes, &before->action);
  sigprocmask(SIG_UNBLOCK, &alarm, &before->mask);
  setitimer(ITIMER_REAL, &soon, NULL);
}

/* SIGALRM is as it was, so that no process of the wall interrupts this one by it. */
static void end_alarm(const struct alarm *before) {
  static const struct itimerval never;
  setitimer(ITIMER_REAL, &never, NULL);
  sigprocmask(SIG_SETMASK, &before->mask, NULL);
  sigaction(SIGALRM, &before->action, NULL);
}

/* Starts the connect of a socket that the caller shares, and can make blocking at any time. EINTR: it would wait. */
int connect_at_once(int socket, const struct sockaddr *to, socklen_t bytes) {
  struct alarm before;
  begin_alarm(&before);
  int error = connect(socket, to, bytes) ? errno : 0;
  end_alarm(&before);
  return error;
}

/*
 * Closes a descriptor that may be a copy of the caller's. close(2) of the last one of a socket waits as long as its SO_LINGER says, if
 * the caller let go of it meanwhile; after a signal the kernel goes on without this process.
 */
void close_copy(int fd) {
  struct alarm before;
  int type;
  socklen_t size = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size)) {
    close(fd);
    return;
  }
  begin_alarm(&before);
  close(fd);
  end_alarm(&before);
}

/* Opens a descriptor's file through /proc/PID/fd where pidfd_getfd is refused: only files and folders, with O_PATH. */
int open_descriptor(pid_t pid, int number) {
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/fd/%d", pid, number);
  int fd = open(name, O_PATH | O_CLOEXEC);
  return fd >= 0 ? fd : errno == ENOENT ? -EBADF : -EACCES;
}

/* Inode of the socket of a descriptor; a negative errno if it is none. */
int64_t socket_inode(pid_t pid, int number) {
  char name[64], to[64] = "";
  unsigned long long inode;
  snprintf(name, sizeof name, "/proc/%d/fd/%d", pid, number);
  if (readlink(name, to, sizeof to - 1) < 0) return errno == ENOENT ? -EBADF : -EACCES;
  return sscanf(to, "socket:[%llu]", &inode) == 1 ? (int64_t)inode : -ENOTSOCK;
}

int copy_descriptor(pid_t pid, int number) {
  int process = (int)syscall(SYS_pidfd_open, pid, PIDFD_THREAD);
  if (process < 0) process = (int)syscall(SYS_pidfd_open, status_of(pid, "\nTgid:", 10, 0), 0);
  if (process < 0) return -EACCES;
  int fd = (int)syscall(SYS_pidfd_getfd, process, number, 0);
  int error = errno;
  close(process);
  return fd < 0 ? (error == EBADF ? -EBADF : -EACCES) : fd;
}

/*
 * Process 1 of a Podman or Docker container that is a wall: connects the program to the warden, and exits with it.
 *
 *   connector FOLDER FILTER CORE NOFILE MEMLOCK FSIZE PROGRAM ARGV0 [ARG...]
 *
 * Problem: a container engine passes no descriptors to a program, and does not stop a container when its starter dies.
 *
 * Mechanism: the warden listens on sockets in FOLDER, which is mounted here. This process connects to each, gives the program
 * its ends at the numbers of src/jail/whole.ts, and keeps `life` open: EOF on it means that the warden has exited; this process
 * then exits, and the kernel kills all others of its PID namespace. It reaps orphans, and exits with the program's status. The
 * listening socket of the wall's egress path is opened before the filter is loaded, which refuses listen(2). The child loads
 * FILTER (hexadecimal) before the exec, in addition to the engine's own filter, and lowers the limits, since engines have
 * defaults of their own.
 *
 * Relies on: pid_namespaces(7) on signals to process 1, which has no handlers; PR_SET_DUMPABLE 0, so that no process of the
 * wall may trace it or read its memory.
 *
 * Not handled: capabilities and the root, which the container engine sets (src/warden/engines/processes/containers).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUT_FD = 1, ERR_FD = 2, RESULT_FD = 3, READY_FD = 4, HANDLE_FD = 5, LISTENER_FD = 7, FIRST_FREE = 32 };
enum { EGRESS_PORT = 3128, BACKLOG = 64, FILTER_BYTES_MAX = 65536, KILLED = 128 + 9 };

static int ready = -1;

static _Noreturn void cannot(const char *what) {
  char text[200];
  int n = snprintf(text, sizeof text, "Econnector: %s: %s", what, strerror(errno));
  if (n > 0 && write(ready, text, (size_t)n) < 0) _exit(2);
  _exit(1);
}

static int connect_to(const char *folder, const char *name) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (snprintf(to.sun_path, sizeof to.sun_path, "%s/%s", folder, name) >= (int)sizeof to.sun_path) _exit(1);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) cannot(name);
  int high = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE);
  close(fd);
  return high;
}

static int listen_inside(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(EGRESS_PORT)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0 || bind(server, (struct sockaddr *)&at, sizeof at) || listen(server, BACKLOG)) cannot("listen");
  int high = fcntl(server, F_DUPFD_CLOEXEC, FIRST_FREE);
  close(server);
  return high;
}

static int nibble(char digit) {
  const char *digits = "0123456789abcdef", *at = digit ? strchr(digits, digit) : NULL;
  errno = EINVAL;
  if (!at) cannot("filter");
  return (int)(at - digits);
}

static void load_filter(const char *hex) {
  static unsigned char code[FILTER_BYTES_MAX] __attribute__((aligned(8)));
  size_t length = strlen(hex) / 2;
  errno = EINVAL;
  if (length == 0 || length > sizeof code || length % sizeof(struct sock_filter)) cannot("filter");
  for (size_t i = 0; i < length; i++) code[i] = (unsigned char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
  struct sock_fprog program = {.len = (unsigned short)(length / sizeof(struct sock_filter)), .filter = (void *)code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) cannot("no new privileges");
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) cannot("filter");
}

static void limit(int resource, const char *text) {
  rlim_t value = (rlim_t)strtoull(text, NULL, 10);
  struct rlimit now;
  if (getrlimit((__rlimit_resource_t)resource, &now)) cannot("limit");
  if (now.rlim_max < value) value = now.rlim_max;
  now.rlim_cur = now.rlim_max = value;
  if (setrlimit((__rlimit_resource_t)resource, &now)) cannot("limit");
}

/* Sets an empty project map for disk quotas: any process inside could write it, but only once. */
static void close_projects(void) {
  int fd = open("/proc/self/projid_map", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "0 0 1", 5) < 0) errno = 0;
  close(fd);
}

static void move_fd(int from, int to) {
  if (dup2(from, to) != to) cannot("descriptor");
}

static _Noreturn void exec_program(char **words, char **program, int out, int err, int handle, int listener) {
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nothing < 0) cannot("/dev/null");
  sigset_t none;
  sigemptyset(&none);
  move_fd(nothing, 0);
  move_fd(out, OUT_FD);
  move_fd(err, ERR_FD);
  move_fd(nothing, RESULT_FD);
  move_fd(handle, HANDLE_FD);
  move_fd(listener, LISTENER_FD);
  move_fd(ready, READY_FD);
  syscall(SYS_close_range, LISTENER_FD + 1, ~0U, 1u << 2);
  fcntl(6, F_SETFD, FD_CLOEXEC);
  sigprocmask(SIG_SETMASK, &none, NULL);
  limit(RLIMIT_CORE, words[1]);
  limit(RLIMIT_NOFILE, words[2]);
  limit(RLIMIT_MEMLOCK, words[3]);
  limit(RLIMIT_FSIZE, words[4]);
  load_filter(words[0]);
  execv(program[0], program + 1);
  cannot("exec");
}

int main(int argc, char **argv) {
  if (argc < 9) return 1;
  ready = connect_to(argv[1], "ready");
  int life = connect_to(argv[1], "life"), out = connect_to(argv[1], "out"), err = connect_to(argv[1], "err");
  int handle = connect_to(argv[1], "handle"), listener = listen_inside();
  close_projects();
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &ends, NULL)) cannot("signals");
  int ended = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  if (ended < 0 || prctl(PR_SET_DUMPABLE, 0)) cannot("signals");
  pid_t child = fork();
  if (child < 0) cannot("fork");
  if (child == 0) exec_program(argv + 2, argv + 7, out, err, handle, listener);
  close(out), close(err), close(handle), close(listener), close(ready);
  for (;;) {
    struct pollfd on[] = {{.fd = life, .events = POLLIN}, {.fd = ended, .events = POLLIN}};
    struct signalfd_siginfo seen;
    if (poll(on, 2, -1) < 0 && errno != EINTR) _exit(KILLED);
    if (on[0].revents) _exit(KILLED);
    while (read(ended, &seen, sizeof seen) > 0) continue;
    int status, gone;
    while ((gone = waitpid(-1, &status, WNOHANG)) > 0)
      if (gone == child) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}

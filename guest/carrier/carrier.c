/*
 * The carrier: starts the runner of a machine and carries its streams to the server, on one port of the machine.
 *
 *   carrier CHANNEL GROUP UID FOLDER FILE_BYTES PROFILE -- PROGRAM ARGUMENT...
 *
 * CHANNEL and GROUP are numbers of open descriptors: the port, or a listening socket, and cgroup.procs of the job's cgroup, which
 * the runner joins.
 * PROFILE is the AppArmor profile of the runner from its exec on, or "-" if the guest has none.
 *
 * Problem: a runner has a socket to the server, two outputs and an egress path, each with its own back-pressure and its own end of
 * file. A port of a machine is one stream of bytes, without an end of file for the host, and without ordering between ports.
 *
 * Mechanism: one thread, one event loop, tables of fixed size. The runner gets a socket pair and two pipes, as in all other walls;
 * frames with a flow-control window per stream go through the port (wire.h). The agent starts the carrier as root; the carrier
 * starts the runner as UID, and changes to another uid without rights beyond its descriptors; programs can neither signal nor trace
 * it. The carrier exits with the status of the runner once the server has received all output, and the agent reports that to the
 * warden. If a runner exits before a server connected, the carrier exits at once.
 *
 *   wire.h  every frame    link.c  frames and buffers    streams.c  streams, windows, connections
 *
 * Relies on: its standard output being a pipe of the agent, which the runner gets as its readiness pipe, descriptor 4.
 *
 * Not handled: more than one runner. The carrier exits if the host disconnects; the host ends the machine.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "link.h"
#include "streams.h"

enum { BAD_START = 64, CARRIER_USER = 64000, SIGNAL_CODES_FROM = 128, ABOVE_ALL = 64, GIVEN = 8 };
/* Descriptors of a runner: src/jail/whole.ts. */
enum { READY_FD = 4, HANDLE_FD = 5 };
enum { FILES_MAX = 1024, LOCKED_BYTES_MAX = 65536, CORE_BYTES_MAX = 1 };

static _Noreturn void give_up(void) { _exit(BAD_START); }

static void limit(int number, rlim_t value) {
  const struct rlimit to = {value, value};
  if (setrlimit(number, &to) < 0) give_up();
}

static void become(uid_t uid) {
  if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0) give_up();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) give_up();
}

static int high(int fd) {
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, ABOVE_ALL);
  if (moved < 0) give_up();
  return moved;
}

/* Sets the profile for the next exec. Exits on failure, because an unconfined runner would be reported as confined. */
static void enter_at_exec(const char *profile) {
  char line[128];
  if (!strcmp(profile, "-")) return;
  int length = snprintf(line, sizeof line, "exec %s", profile);
  int fd = open("/proc/self/attr/apparmor/exec", O_WRONLY | O_CLOEXEC);
  if (length >= (int)sizeof line || fd < 0 || write(fd, line, (size_t)length) != length) give_up();
  close(fd);
}

static _Noreturn void become_runner(const int ends[3], uid_t uid, char **argv) {
  sigset_t none;
  /* Before the descriptor number is reused. */
  if (write(atoi(argv[2]), "0", 1) != 1) give_up();
  enter_at_exec(argv[6]);
  int nothing = high(open("/dev/null", O_RDWR | O_CLOEXEC));
  const int given[GIVEN] = {nothing, high(ends[1]), high(ends[2]), nothing, high(STDOUT_FILENO), high(ends[0]), -1, nothing};
  for (int i = 0; i < GIVEN; i++)
    if (given[i] >= 0 ? dup2(given[i], i) < 0 : close(i) < 0 && errno != EBADF) give_up();
  if (syscall(SYS_close_range, GIVEN, ~0U, 0) < 0) give_up();
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  limit(RLIMIT_CORE, CORE_BYTES_MAX);
  limit(RLIMIT_NOFILE, FILES_MAX);
  limit(RLIMIT_MEMLOCK, LOCKED_BYTES_MAX);
  limit(RLIMIT_FSIZE, (rlim_t)strtoull(argv[5], NULL, 10));
  setsid();
  become(uid);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || chdir(argv[4]) < 0) give_up();
  execv(argv[8], argv + 8);
  give_up();
}

static void unblock(int fd) {
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) give_up();
}

static pid_t start_runner(uid_t uid, char **argv) {
  int handle[2], output[2], error[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, handle) < 0) give_up();
  if (pipe2(output, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0) give_up();
  const int ends[3] = {handle[1], output[1], error[1]};
  pid_t pid = fork();
  if (pid < 0) give_up();
  if (pid == 0) become_runner(ends, uid, argv);
  for (int i = 0; i < 3; i++) close(ends[i]);
  unblock(handle[0]);
  unblock(output[0]);
  unblock(error[0]);
  open_own(HANDLE, handle[0], handle[0]);
  open_own(STDOUT, output[0], -1);
  open_own(STDERR, error[0], -1);
  return pid;
}

/* Closes the readiness pipe here, so that only the runner has it, and the agent reads end of file when the runner closes it. */
static void let_go_of_pipe(void) {
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nothing < 0 || dup2(nothing, STDOUT_FILENO) < 0) give_up();
}

static int open_signals(void) {
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, NULL);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Exit code of the runner in the convention of shells (128 + signal), or -1 while it runs. */
static int end_of(pid_t pid) {
  int status;
  if (waitpid(pid, &status, WNOHANG) != pid) return -1;
  return WIFSIGNALED(status) ? SIGNAL_CODES_FROM + WTERMSIG(status) : WEXITSTATUS(status);
}

static int carry(pid_t pid, int signals) {
  struct signalfd_siginfo seen;
  struct pollfd on[2 + POLLS_MAX];
  for (int code = -1, is_over = 0;;) {
    if (code >= 0 && awaits_server()) return code;
    if (code >= 0 && !is_over && !is_still && finish_streams() && has_room()) {
      send_frame(OVER);
      is_over = 1;
    }
    if (is_over && is_told) return code;
    on[0] = poll_channel();
    on[1] = (struct pollfd){.fd = signals, .events = POLLIN};
    size_t count = poll_streams(on + 2);
    if (poll(on, 2 + count, -1) < 0 && errno != EINTR) give_up();
    if (on[1].revents & POLLIN && read(signals, &seen, sizeof seen) > 0 && code < 0) code = end_of(pid);
    serve_channel(on[0].revents, take_frame);
    serve_streams(on + 2, count);
    flush_channel();
  }
}

int main(int argc, char **argv) {
  if (argc < 9 || strcmp(argv[7], "--")) give_up();
  if (atoi(argv[1]) < 3 || !open_link(atoi(argv[1]))) give_up();
  int signals = open_signals();
  if (signals < 0) give_up();
  pid_t pid = start_runner((uid_t)atoi(argv[3]), argv);
  close(atoi(argv[2]));
  let_go_of_pipe();
  become(CARRIER_USER);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  return carry(pid, signals);
}

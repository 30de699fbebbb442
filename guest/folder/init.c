/*
 * Process 1 of the wall: builds its root, starts the command, performs the command's calls, and exits when it exits.
 *
 * Problem. A path has a meaning only in a root and a PID namespace, so the supervisor must be in those of its callers; yet
 * the callers must not be able to signal or trace it.
 *
 * Mechanism. This process is in all of the wall's namespaces except the command's user namespace. It has dropped every
 * capability and is not dumpable. The kernel ignores signals to process 1 from inside its namespace for which it has no
 * handler, and it installs none. It reaps orphans. When it exits, the kernel kills every process of the wall.
 *
 * Relies on pid_namespaces(7).
 *
 * Not handled: a hard memory limit. Use is sampled (memory.c), so a burst can exceed the limit. Where this user may create
 * cgroups, the parent sets a hard limit in place of the samples (src/warden/engines/folder/start.ts).
 */
#define _GNU_SOURCE
#include "init.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "../sentinel/wall.h"
#include "command.h"
#include "fifos.h"
#include "folder.h"
#include "monitor.h"
#include "judge.h"
#include "lookups.h"
#include "memory.h"
#include "opens.h"
#include "resolve.h"
#include "reports.h"
#include "requests.h"
#include "sockets.h"
#include "unkept.h"

/* Callers of pending connects may be gone or have a signal, which no descriptor tells: looked at every CONNECTS_MS. */
enum { CONNECTS_MS = 150, BACKLOG = 64 };

static int control, signals;
static pid_t command;

/* ---- terminal and egress path ---- */

static int make_terminal(void) {
  int unlocked = 0;
  if (!options.terminals) return -1;
  int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  must(master >= 0 && ioctl(master, TIOCSPTLCK, &unlocked) == 0, "terminal");
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  must(slave >= 0, "terminal");
  /* Same session as the command: an orphaned process group would ignore the stop key (^Z). */
  must(setsid() >= 0 && ioctl(slave, TIOCSCTTY, 0) == 0, "terminal");
  send_message(control, MASTER, 0, master);
  close(master);
  return slave;
}

static void open_egress_listener(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.egress_port)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!options.egress_port) return;
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(server >= 0 && bind(server, (struct sockaddr *)&at, sizeof at) == 0 && listen(server, BACKLOG) == 0, "egress");
  send_message(control, LISTENER, 0, server);
  close(server);
}

/* ---- exit ---- */

static _Noreturn void exit_as_command(int status) {
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  report_unkept();
  send_report("{\"kind\":\"ended\",\"code\":%d,\"signal\":%d}\n", code, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  _exit(code);
}

static void reap(void) {
  struct signalfd_siginfo info;
  int status;
  pid_t pid;
  if (read(signals, &info, sizeof info) < 0) errno = 0;
  while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
    if (WIFSTOPPED(status)) {
      if (pid == command) send_message(control, STOPPED, 0, -1);
      else memory_helper_stopped(pid);
    } else if (pid == command) {
      exit_as_command(status);
    } else {
      memory_helper_exited(pid);
    }
  }
}

static void handle_message(void) {
  struct message message;
  int fd;
  if (!receive_message(control, &message, &fd)) _exit(128 + SIGKILL);
  if (message.kind == SIGNAL_ONE) kill(command, message.number);
  if (message.kind == SIGNAL_GROUP) kill(-getpgid(command), message.number);
  send_message(control, TAKEN, message.number, -1);
}

/* The shorter of two times, of which -1 is none. */
static int sooner(int one, int other) {
  return one < 0 || (other >= 0 && other < one) ? other : one;
}

static int wait_ms(int connects) {
  return sooner(sooner(memory_wait_ms(), fifo_wait_ms()), connects > 0 ? CONNECTS_MS : -1);
}

static _Noreturn void loop(void) {
  struct pollfd on[5 + PENDING_MAX];
  for (;;) {
    check_memory();
    check_fifos();
    on[0] = (struct pollfd){.fd = wall.listener, .events = POLLIN};
    on[1] = (struct pollfd){.fd = signals, .events = POLLIN};
    on[2] = (struct pollfd){.fd = control, .events = POLLIN};
    on[3] = (struct pollfd){.fd = memory_answer_fd(), .events = POLLIN};
    on[4] = (struct pollfd){.fd = lookups_fd(), .events = POLLIN};
    int connects = poll_connects(on + 5);
    int ready = poll(on, (nfds_t)(5 + connects), wait_ms(connects));
    if (ready < 0 && errno != EINTR) _exit(1);
    if (connects > 0) finish_connects(on + 5, connects);
    if (on[4].revents & POLLIN) answer_lookups();
    if (on[0].revents & POLLIN) answer_next();
    if (on[1].revents) reap();
    if (on[2].revents) handle_message();
  }
}

/* Closes the command's streams here, so that the reader of a pipe sees EOF when the command closes it; drops all rights. */
static void drop_access(int terminal) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  must(null >= 0 && chdir("/") == 0, "/dev/null");
  for (int fd = 0; fd < 3; fd++) must(dup2(null, fd) == fd, "/dev/null");
  if (null > 2) close(null);
  if (terminal >= 0) close(terminal);
  drop_capabilities();
  must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, "dumpable");
}

_Noreturn void init(int socket) {
  sigset_t children;
  control = socket;
  /* The host's /proc, opened before the pivot: the wall's own is mounted read-only, and maps could not be written. */
  int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(proc >= 0, "/proc");
  must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "parent");
  carry_out(options.steps, options.step_argc);
  step_name = "init";
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  signals = signalfd(-1, &children, SFD_CLOEXEC);
  must(signals >= 0, "signals");
  open_proc_folders();
  find_streams();
  int terminal = make_terminal();
  open_egress_listener();
  open_lookups();
  scan_hard_links();
  open_readable_secrets();
  must(chdir(options.folder) == 0, options.folder);
  command = start_command(terminal, proc);
  send_message(control, NOTIFIER, 0, wall.listener);
  close(proc);
  drop_access(terminal);
  send_report("{\"kind\":\"started\"}\n");
  close(START_FD);
  loop();
}

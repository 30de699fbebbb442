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
 * Not handled: a hard memory limit. Use is sampled every 250 ms, so a burst can exceed the limit. Where this user may create
 * cgroups, the parent sets a hard limit in place of the samples (src/warden/engines/folder/start.ts).
 */
#define _GNU_SOURCE
#include "init.h"
#include <arpa/inet.h>
#include <dirent.h>
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
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "../sentinel/wall.h"
#include "command.h"
#include "folder.h"
#include "monitor.h"
#include "judge.h"
#include "opens.h"
#include "resolve.h"
#include "reports.h"
#include "requests.h"
#include "sockets.h"

enum { MEMORY_CHECK_MS = 250, SHARES_MS_MAX = 1000, BACKLOG = 64 };

static int control, signals;
static int64_t memory_checked_ms, memory_pause_ms;
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

/* ---- memory ---- */

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads a file of a process; 0 with errno set if that fails. */
static int read_of_process(const char *pid, const char *file, char *text, size_t size) {
  char name[300];
  snprintf(name, sizeof name, "/proc/%s/%s", pid, file);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = read(fd, text, size - 1);
  int error = errno;
  close(fd);
  errno = error;
  if (n < 0) return 0;
  text[n] = 0;
  return 1;
}

/* Anonymous memory of a process in bytes: its RSS without file-backed and shared pages. */
static uint64_t private_bytes(const char *pid) {
  char text[128];
  unsigned long total, resident, shared;
  if (!read_of_process(pid, "statm", text, sizeof text)) return 0;
  if (sscanf(text, "%lu %lu %lu", &total, &resident, &shared) != 3 || shared > resident) return 0;
  return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The same with each page divided by the number of processes that map it, such as forked ones; `whole` if it is not known. */
static uint64_t proportional_bytes(const char *pid, uint64_t whole) {
  char text[4096];
  unsigned long kilobytes;
  if (!read_of_process(pid, "smaps_rollup", text, sizeof text)) return errno == ENOENT || errno == ESRCH ? 0 : whole;
  const char *line = strstr(text, "\nPss_Anon:");
  if (!line || sscanf(line, "\nPss_Anon: %lu kB", &kilobytes) != 1) return whole;
  uint64_t bytes = (uint64_t)kilobytes * 1024;
  return bytes < whole ? bytes : whole;
}

/* The proportional sum walks page tables: processes that it has not reached by `shares_until` count as whole. */
static uint64_t wall_memory(int64_t shares_until) {
  struct statvfs scratch;
  uint64_t bytes = 0;
  DIR *open = opendir("/proc");
  for (struct dirent *one; open && (one = readdir(open));) {
    if (*one->d_name < '1' || *one->d_name > '9') continue;
    uint64_t whole = private_bytes(one->d_name);
    bytes += whole > 0 && now_ms() < shares_until ? proportional_bytes(one->d_name, whole) : whole;
  }
  if (open) closedir(open);
  if (statvfs("/dev/shm", &scratch) == 0) bytes += (uint64_t)(scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize;
  return bytes;
}

static int is_memory_check_due(void) { return now_ms() - memory_checked_ms >= memory_pause_ms; }

static void check_memory(void) {
  int64_t began = now_ms();
  int is_held = wall_memory(0) <= options.memory_bytes || wall_memory(began + SHARES_MS_MAX) <= options.memory_bytes;
  memory_checked_ms = now_ms();
  /* Calls wait for a check, so at least as long passes until the next one. */
  memory_pause_ms = memory_checked_ms - began > MEMORY_CHECK_MS ? memory_checked_ms - began : MEMORY_CHECK_MS;
  if (is_held) return;
  send_report("{\"kind\":\"limit\",\"limit\":\"memory\"}\n");
  _exit(128 + SIGKILL);
}

/* ---- exit ---- */

static _Noreturn void exit_as_command(int status) {
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
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
    } else if (pid == command) {
      exit_as_command(status);
    } else {
      helper_exited(pid);
    }
  }
}

static void handle_message(void) {
  struct message message;
  int fd;
  if (!receive_message(control, &message, &fd)) _exit(128 + SIGKILL);
  if (message.kind == SIGNAL_ONE) kill(command, message.number);
  if (message.kind == SIGNAL_GROUP) kill(-getpgid(command), message.number);
}

static _Noreturn void loop(void) {
  struct pollfd on[3 + CONNECTS_MAX];
  for (;;) {
    if (options.memory_bytes && is_memory_check_due()) check_memory();
    on[0] = (struct pollfd){.fd = wall.listener, .events = POLLIN};
    on[1] = (struct pollfd){.fd = signals, .events = POLLIN};
    on[2] = (struct pollfd){.fd = control, .events = POLLIN};
    int connects = poll_connects(on + 3);
    int ready = poll(on, (nfds_t)(3 + connects), options.memory_bytes ? MEMORY_CHECK_MS : -1);
    if (ready < 0 && errno != EINTR) _exit(1);
    if (connects > 0) finish_connects(on + 3, connects);
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
  scan_hard_links();
  open_readable_secrets();
  must(chdir(options.folder) == 0, options.folder);
  command = start_command(terminal, proc);
  close(proc);
  drop_access(terminal);
  send_report("{\"kind\":\"started\"}\n");
  close(START_FD);
  loop();
}

/*
 * Process 1 of the wall: builds its root, starts the command, makes its calls, and ends when that ends.
 *
 * Problem. A path means something in a root and in a process namespace, and what makes calls for others must not be
 * reached by them.
 *
 * Mechanism. This process is in all of the wall's namespaces but the command's user namespace. It has no capability left,
 * needs none, and is not dumpable. As process 1 it gets no signal that it has no handler for, and it has none. It reaps
 * what is left over. When it ends, every process of the wall does.
 *
 * Relies on pid_namespaces(7).
 *
 * Not handled: memory by a control group. It is looked at each quarter of a second, which a burst can pass.
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
#include "hold.h"
#include "judge.h"
#include "opens.h"
#include "places.h"
#include "reports.h"
#include "requests.h"
#include "sockets.h"

enum { LOOK_MS = 250, BACKLOG = 64 };

static int control, signals;
static pid_t command;

/* ---- the wall's terminal and its way out ---- */

static int make_terminal(void) {
  int unlocked = 0;
  if (!asked.terminals) return -1;
  int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  must(master >= 0 && ioctl(master, TIOCSPTLCK, &unlocked) == 0, "terminal");
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  must(slave >= 0, "terminal");
  /* In one session with the command, or its group would be an orphan, which no key stops. */
  must(setsid() >= 0 && ioctl(slave, TIOCSCTTY, 0) == 0, "terminal");
  send_word(control, MASTER, 0, master);
  close(master);
  return slave;
}

static void open_way_out(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)asked.egress_port)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!asked.egress_port) return;
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(server >= 0 && bind(server, (struct sockaddr *)&at, sizeof at) == 0 && listen(server, BACKLOG) == 0, "egress");
  send_word(control, LISTENER, 0, server);
  close(server);
}

/* ---- memory ---- */

/* Bytes that a process has and shares with no file: RSS less what is of files and shared memory. */
static uint64_t bytes_of(const char *pid) {
  char name[300], text[128];
  unsigned long total, resident, shared;
  snprintf(name, sizeof name, "/proc/%s/statm", pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  if (sscanf(text, "%lu %lu %lu", &total, &resident, &shared) != 3 || shared > resident) return 0;
  return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t bytes_held(void) {
  struct statvfs scratch;
  uint64_t bytes = 0;
  DIR *open = opendir("/proc");
  for (struct dirent *one; open && (one = readdir(open));)
    if (*one->d_name >= '1' && *one->d_name <= '9') bytes += bytes_of(one->d_name);
  if (open) closedir(open);
  if (statvfs("/dev/shm", &scratch) == 0) bytes += (uint64_t)(scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize;
  return bytes;
}

static int is_time_to_look(void) {
  static int64_t last;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  int64_t now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
  if (now - last < LOOK_MS) return 0;
  last = now;
  return 1;
}

static void look_at_memory(void) {
  if (bytes_held() <= asked.memory_bytes) return;
  say("{\"kind\":\"limit\",\"limit\":\"memory\"}\n");
  _exit(128 + SIGKILL);
}

/* ---- ends ---- */

static _Noreturn void ended(int status) {
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  say("{\"kind\":\"ended\",\"code\":%d,\"signal\":%d}\n", code, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  _exit(code);
}

static void reap(void) {
  struct signalfd_siginfo info;
  int status;
  pid_t pid;
  if (read(signals, &info, sizeof info) < 0) errno = 0;
  while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
    if (WIFSTOPPED(status)) {
      if (pid == command) send_word(control, STOPPED, 0, -1);
    } else if (pid == command) {
      ended(status);
    } else {
      end_helper(pid);
    }
  }
}

static void take_order(void) {
  struct word word;
  int fd;
  if (!take_word(control, &word, &fd)) _exit(128 + SIGKILL);
  if (word.kind == SIGNAL_ONE) kill(command, word.number);
  if (word.kind == SIGNAL_GROUP) kill(-getpgid(command), word.number);
}

static _Noreturn void loop(void) {
  struct pollfd on[3 + CONNECTS_MAX];
  for (;;) {
    if (asked.memory_bytes && is_time_to_look()) look_at_memory();
    on[0] = (struct pollfd){.fd = wall.listener, .events = POLLIN};
    on[1] = (struct pollfd){.fd = signals, .events = POLLIN};
    on[2] = (struct pollfd){.fd = control, .events = POLLIN};
    int connects = add_connects(on + 3);
    int ready = poll(on, (nfds_t)(3 + connects), asked.memory_bytes ? LOOK_MS : -1);
    if (ready < 0 && errno != EINTR) _exit(1);
    if (connects > 0) end_connects(on + 3, connects);
    if (on[0].revents & POLLIN) answer_next();
    if (on[1].revents) reap();
    if (on[2].revents) take_order();
  }
}

/* Streams of the command are not held open here: a pipe's reader waits for its last writer. */
static void let_go(int terminal) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  must(null >= 0 && chdir("/") == 0, "/dev/null");
  for (int fd = 0; fd < 3; fd++) must(dup2(null, fd) == fd, "/dev/null");
  if (null > 2) close(null);
  if (terminal >= 0) close(terminal);
  drop_rights();
  must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, "dumpable");
}

_Noreturn void init(int socket) {
  sigset_t children;
  control = socket;
  /* The host's own, whose files may be written: that of the wall is read-only. */
  int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(proc >= 0, "/proc");
  must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "parent");
  carry_out(asked.steps, asked.step_words);
  step_name = "init";
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  signals = signalfd(-1, &children, SFD_CLOEXEC);
  must(signals >= 0, "signals");
  open_places();
  int terminal = make_terminal();
  open_way_out();
  find_other_names();
  must(chdir(asked.folder) == 0, asked.folder);
  command = start_command(terminal, proc);
  close(proc);
  let_go(terminal);
  say("{\"kind\":\"started\"}\n");
  close(START_FD);
  loop();
}

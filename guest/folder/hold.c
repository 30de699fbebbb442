/*
 * The process outside of the wall, child of the command line: starts it, passes signals and the terminal on, keeps its time.
 *
 * Problem. The command has a session and a process namespace of its own, so that no signal and no key of the caller's
 * terminal reaches it by itself; and a wall must not outlive the command line that started it.
 *
 * Mechanism. One loop over descriptors. A signal to the process group (a key of the terminal) comes here from the kernel,
 * and goes to the foreground group inside. A signal to the command line alone is sent on by that, and goes to the command
 * alone; one that the command line passes on of a key of the terminal is told apart by its count. When the command line
 * ends, the kernel tells (PR_SET_PDEATHSIG), the terminal is set back, and the wall ends with `init`.
 *
 * Relies on clone(2) into namespaces, signalfd(2), timerfd_create(2) with CLOCK_BOOTTIME, pid_namespaces(7).
 *
 * Not handled: SIGKILL to this process leaves a terminal raw, as it does for any program.
 */
#define _GNU_SOURCE
#include "hold.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "folder.h"
#include "init.h"
#include "reports.h"
#include "terminal.h"

enum { SIGNALS_MAX = 65, GROUP_NS = 1000000000 };
/* Sent by the kernel when the command line has ended. */
#define PARENT_GONE SIGRTMIN

static const int passed[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGCONT};

static struct {
  pid_t init, parent;
  int control, signals, timer;
  /* Signals of the kernel to the whole group that the command line passes on too, and when. */
  int doubled[SIGNALS_MAX];
  int64_t doubled_at[SIGNALS_MAX];
} held;

void send_word(int socket, int kind, int number, int fd) {
  struct word word = {kind, number};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } beside = {{0}};
  struct iovec part = {&word, sizeof word};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = &beside;
    message.msg_controllen = sizeof beside;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  if (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) errno = 0;
}

int take_word(int socket, struct word *word, int *fd) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } beside;
  struct iovec part = {word, sizeof *word};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &beside, .msg_controllen = sizeof beside};
  *fd = -1;
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof *word) return 0;
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (head && head->cmsg_type == SCM_RIGHTS) memcpy(fd, CMSG_DATA(head), sizeof *fd);
  return 1;
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- signals ---- */

static void block_signals(sigset_t *all) {
  sigemptyset(all);
  for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) sigaddset(all, passed[i]);
  sigaddset(all, SIGCHLD);
  sigaddset(all, SIGWINCH);
  sigaddset(all, SIGTTOU);
  sigaddset(all, PARENT_GONE);
  must(sigprocmask(SIG_BLOCK, all, NULL) == 0, "signals");
}

/* The command stopped: so does the job of the caller's shell, until it is continued. */
static void stop_job(void) {
  restore_terminal();
  kill(0, SIGSTOP);
  take_terminal();
  send_word(held.control, SIGNAL_GROUP, SIGCONT, -1);
}

static void pass_on(const struct signalfd_siginfo *info) {
  int signo = (int)info->ssi_signo;
  if (signo == SIGCONT) return send_word(held.control, SIGNAL_GROUP, signo, -1);
  int is_of_kernel = info->ssi_code == SI_KERNEL, is_of_parent = (pid_t)info->ssi_pid == held.parent;
  if (is_of_kernel) {
    held.doubled[signo]++;
    held.doubled_at[signo] = now_ns();
    send_word(held.control, SIGNAL_GROUP, signo, -1);
    return;
  }
  /* Signals to the group reach the command line as well. */
  if (!is_of_parent) return;
  if (now_ns() - held.doubled_at[signo] > GROUP_NS) held.doubled[signo] = 0;
  if (held.doubled[signo] > 0) held.doubled[signo]--;
  else send_word(held.control, SIGNAL_ONE, signo, -1);
}

static _Noreturn void end(int status) {
  restore_terminal();
  _exit(status);
}

/* The status of `init` is that of the command, which it has told as a line. */
static void reap(void) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != held.init) continue;
    drain_terminal();
    if (WIFSIGNALED(status)) say("{\"kind\":\"killed\",\"signal\":%d}\n", WTERMSIG(status));
    end(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}

static void take_signal(void) {
  struct signalfd_siginfo info;
  if (read(held.signals, &info, sizeof info) != (ssize_t)sizeof info) return;
  int signo = (int)info.ssi_signo;
  if (signo == SIGCHLD) reap();
  else if (signo == SIGWINCH) resize_terminal();
  else if (signo == PARENT_GONE) {
    kill(held.init, SIGKILL);
    end(1);
  } else if (signo != SIGTTOU) pass_on(&info);
}

/* ---- words of init, time ---- */

static void take_control(void) {
  struct word word;
  int fd;
  if (!take_word(held.control, &word, &fd)) {
    close(held.control);
    held.control = -1;
  } else if (word.kind == MASTER) {
    begin_terminal(fd);
  } else if (word.kind == LISTENER) {
    say("{\"kind\":\"listening\",\"fd\":%d}\n", fd);
  } else if (word.kind == STOPPED && has_terminal()) {
    stop_job();
  }
}

static int start_timer(void) {
  int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
  struct itimerspec at = {.it_value = {.tv_sec = (time_t)(asked.timeout_ms / 1000),
                                       .tv_nsec = (long)(asked.timeout_ms % 1000) * 1000000}};
  must(timer >= 0 && (asked.timeout_ms == 0 || timerfd_settime(timer, 0, &at, NULL) == 0), "timer");
  return timer;
}

static void time_is_over(void) {
  say("{\"kind\":\"limit\",\"limit\":\"timeout\"}\n");
  close(held.timer);
  held.timer = -1;
  kill(held.init, SIGKILL);
}

static _Noreturn void loop(void) {
  for (;;) {
    struct pollfd on[5] = {
        {.fd = held.signals, .events = POLLIN},
        {.fd = held.control, .events = POLLIN},
        {.fd = held.timer, .events = POLLIN},
    };
    watch_terminal(on + 3);
    if (poll(on, 5, -1) < 0 && errno != EINTR) end(1);
    if (on[2].revents) time_is_over();
    if (on[1].revents) take_control();
    relay_terminal(on + 3);
    if (on[0].revents) take_signal();
  }
}

_Noreturn void hold(void) {
  int control[2];
  sigset_t all;
  held.parent = getppid();
  block_signals(&all);
  must(prctl(PR_SET_PDEATHSIG, PARENT_GONE) == 0 && getppid() == held.parent, "parent");
  must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0, "control");
  held.signals = signalfd(-1, &all, SFD_CLOEXEC);
  held.timer = start_timer();
  must(held.signals >= 0, "signals");
  int own = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  step_name = "namespaces";
  held.init = (pid_t)syscall(SYS_clone, own | SIGCHLD, NULL, NULL, NULL, NULL);
  must(held.init >= 0, "");
  if (held.init == 0) {
    close(control[0]);
    close(held.signals);
    close(held.timer);
    init(control[1]);
  }
  close(control[1]);
  close(START_FD);
  held.control = control[0];
  loop();
}

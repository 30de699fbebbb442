/*
 * The monitor: a child of `mayfly exec`, outside of the wall. It starts `init`, relays signals and the terminal, and enforces
 * the time limit.
 *
 * Problem. The command has its own session and PID namespace, so no signal and no key of the caller's terminal reaches it;
 * and the wall must not outlive the `mayfly` process that started it.
 *
 * Mechanism. One poll(2) loop.
 * - A key of the terminal: the kernel signals the whole process group, so both this process (SI_KERNEL) and the parent get
 *   it. It is sent to the foreground group inside. The parent relays its copy too; that one is recognised by a counter and
 *   dropped.
 * - A signal to the parent alone is relayed by the parent, and sent to the command alone; SIGINT to its group, as the key is: a shell
 *   that waits for a program ends by it only if that program does.
 * - A signal that ends programs and that `init` has not taken for TAKEN_NS, since a call of its own waits, ends the wall.
 * - This process holds the notifications (seccomp_unotify(2)) open too. Otherwise the calls of the wall would fail with ENOSYS between
 *   the end of `init` and their own, and programs would print that.
 * - When the parent exits, the kernel sends PARENT_GONE (PR_SET_PDEATHSIG): the terminal is restored and `init` killed.
 * The command can stop this process (^Z), and a terminal may block it: so PARENT_GONE and the end of a late time limit (OVERDUE)
 * have a handler, and SIGKILL of a last timer ends a stopped one too, and `init` with it. Both timers count no suspend of the
 * machine, so that after one the time limit itself ends the command. They end with a command that was within the limit. Its output
 * may then wait for the terminal as long as nobody ends `mayfly` by a signal: for LAST_MS after an end within TOLD_NS of SIGTERM, or
 * by a relayed SIGHUP, and for AFTER_MS after another end that follows one of these signals.
 *
 * Relies on clone(2) into namespaces, signalfd(2), timerfd_create(2) with CLOCK_BOOTTIME, timer_create(2) with CLOCK_MONOTONIC,
 * pid_namespaces(7).
 *
 * Not handled: SIGKILL to this process leaves the terminal in raw mode, as it does for any program; so does a stop or freeze of
 * its group from outside that lasts until the last timer.
 */
#define _GNU_SOURCE
#include "monitor.h"
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

/* OVERDUE_S, KILL_S: seconds after the time limit, longer than a kill of many processes takes. STOP_NS, LAST_MS: how long output
 * waits for the terminal before a stop, and after the end of a command that ended as it was told; AFTER_MS: one that was told to, and
 * ended later or otherwise. TOLD_NS: time for that end. */
enum { SIGNALS_MAX = 65, GROUP_NS = 1000000000, OVERDUE_S = 5, KILL_S = 10, NS_PER_MS = 1000000 };
enum { LAST_MS = 1000, AFTER_MS = 60000 };
static const int64_t STOP_NS = 5000000000, TOLD_NS = 10000000000, TAKEN_NS = 700000000;
/* Parent-death signal, and that of the second timer. */
#define PARENT_GONE SIGRTMIN
#define OVERDUE (SIGRTMIN + 1)

static const int relayed[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGCONT};

static struct {
  /* `init` is 0 once it was reaped: its number may then be that of another process. */
  pid_t init, parent;
  int control, signals, timer, is_hung_up, ended_as_told;
  int late_timers[2], late_timer_count;
  int64_t stops_at, terminated_at;
  /* Signals that end programs and that `init` has not taken: how many, the last one, and since when it takes none. */
  int untaken, untaken_signal;
  int64_t untaken_since;
  /* For each signal: how many were received from the kernel and not yet from the parent, and the time of the last one. */
  int group_signals[SIGNALS_MAX];
  int64_t group_signal_at[SIGNALS_MAX];
} monitor;

void send_message(int socket, int kind, int number, int fd) {
  struct message message = {kind, number};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } ancillary = {{0}};
  struct iovec part = {&message, sizeof message};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    header.msg_control = &ancillary;
    header.msg_controllen = sizeof ancillary;
    struct cmsghdr *head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  if (sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) errno = 0;
}

int receive_message(int socket, struct message *message, int *fd) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } ancillary;
  struct iovec part = {message, sizeof *message};
  struct msghdr header = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
  *fd = -1;
  if (recvmsg(socket, &header, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof *message) return 0;
  struct cmsghdr *head = CMSG_FIRSTHDR(&header);
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
  for (size_t i = 0; i < sizeof relayed / sizeof *relayed; i++) sigaddset(all, relayed[i]);
  sigaddset(all, SIGCHLD);
  sigaddset(all, SIGWINCH);
  sigaddset(all, SIGTTOU);
  must(sigprocmask(SIG_BLOCK, all, NULL) == 0, "signals");
}

static int awaits_before_stop(int terminal) {
  struct pollfd on = {.fd = terminal, .events = POLLOUT};
  int64_t left = monitor.stops_at - now_ns();
  return left > 0 && poll(&on, 1, (int)(left / NS_PER_MS) + 1) != 0;
}

/* The command stopped (^Z): stops this job of the caller's shell as well, and continues the command after SIGCONT. */
static void stop_job(void) {
  monitor.stops_at = now_ns() + STOP_NS;
  print_before_stop(awaits_before_stop);
  restore_terminal();
  kill(0, SIGSTOP);
  make_terminal_raw();
  send_message(monitor.control, SIGNAL_GROUP, SIGCONT, -1);
}

/* SIGNAL_GROUP or SIGNAL_ONE; 0 for a copy of a signal that was received already. */
static int receivers_of(const struct signalfd_siginfo *info) {
  int signo = (int)info->ssi_signo;
  if (signo == SIGCONT) return SIGNAL_GROUP;
  int is_of_kernel = info->ssi_code == SI_KERNEL, is_of_parent = (pid_t)info->ssi_pid == monitor.parent;
  if (is_of_kernel) {
    monitor.group_signals[signo]++;
    monitor.group_signal_at[signo] = now_ns();
    return SIGNAL_GROUP;
  }
  /* A signal from any other process is taken as one to the group: the parent relays its own copy. */
  if (!is_of_parent) return 0;
  if (now_ns() - monitor.group_signal_at[signo] > GROUP_NS) monitor.group_signals[signo] = 0;
  if (monitor.group_signals[signo] == 0) return signo == SIGINT ? SIGNAL_GROUP : SIGNAL_ONE;
  monitor.group_signals[signo]--;
  return 0;
}

static int is_ending(int signo) {
  return signo == SIGINT || signo == SIGTERM || signo == SIGHUP || signo == SIGQUIT;
}

static void relay_signal(const struct signalfd_siginfo *info) {
  int signo = (int)info->ssi_signo, receivers = receivers_of(info);
  if (!receivers) return;
  send_message(monitor.control, receivers, signo, -1);
  if (is_ending(signo)) {
    if (monitor.untaken++ == 0) monitor.untaken_since = now_ns();
    monitor.untaken_signal = signo;
  }
  if (signo == SIGTERM) monitor.terminated_at = now_ns();
  if (signo == SIGHUP) monitor.is_hung_up = 1;
}

/* A command that goes on after a signal ends for reasons of its own: to many, SIGHUP means to read their configuration again. */
static int has_ended_as_told(int status) {
  int is_by_hangup = WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGHUP;
  int is_soon = monitor.terminated_at && now_ns() - monitor.terminated_at < TOLD_NS;
  return is_soon || (is_by_hangup && monitor.is_hung_up);
}

static _Noreturn void end(int status) {
  restore_terminal();
  _exit(status);
}

/* How long output waits for the terminal after the end of the wall; -1 without a limit. */
static int last_wait_ms(void) {
  if (monitor.ended_as_told) return LAST_MS;
  return monitor.terminated_at || monitor.is_hung_up ? AFTER_MS : -1;
}

/* After the end of the wall. A signal that would end the command drops the output that waits. */
static int awaits_at_end(int terminal) {
  struct pollfd on[] = {{.fd = terminal, .events = POLLOUT}, {.fd = monitor.signals, .events = POLLIN}};
  struct signalfd_siginfo info;
  if (poll(on, 2, last_wait_ms()) == 0) return 0;
  if (!on[1].revents || read(monitor.signals, &info, sizeof info) != (ssize_t)sizeof info) return 1;
  return !is_ending((int)info.ssi_signo) || !receivers_of(&info);
}

/* A command that ended within the time limit has no other. */
static void stop_late_timers(void) {
  if (monitor.timer < 0) return;
  for (int i = 0; i < monitor.late_timer_count; i++) syscall(SYS_timer_delete, monitor.late_timers[i]);
}

/* `init` exits with the command's status, which it has also reported. */
static void reap(void) {
  int status;
  pid_t pid, init = monitor.init;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != init) continue;
    monitor.init = 0;
    monitor.ended_as_told = has_ended_as_told(status);
    stop_late_timers();
    drain_terminal(awaits_at_end);
    if (WIFSIGNALED(status)) send_report("{\"kind\":\"killed\",\"signal\":%d}\n", WTERMSIG(status));
    end(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}

static void handle_signal(void) {
  struct signalfd_siginfo info;
  if (read(monitor.signals, &info, sizeof info) != (ssize_t)sizeof info) return;
  int signo = (int)info.ssi_signo;
  if (signo == SIGCHLD) reap();
  else if (signo == SIGWINCH) resize_terminal();
  else if (signo != SIGTTOU) relay_signal(&info);
}

/* ---- messages of init, time limit ---- */

/* The descriptor of NOTIFIER stays open. */
static void handle_message(void) {
  struct message message;
  int fd;
  if (!receive_message(monitor.control, &message, &fd)) {
    close(monitor.control);
    monitor.control = -1;
  } else if (message.kind == MASTER) {
    start_terminal_relay(fd);
  } else if (message.kind == LISTENER) {
    send_report("{\"kind\":\"listening\",\"fd\":%d}\n", fd);
  } else if (message.kind == STOPPED && has_terminal()) {
    stop_job();
  } else if (message.kind == TAKEN && is_ending(message.number)) {
    monitor.untaken--;
    monitor.untaken_since = now_ns();
  }
}

/* Milliseconds until an untaken signal ends the wall; -1 if there is none. */
static int untaken_ms(void) {
  if (monitor.untaken <= 0 || monitor.control < 0) return -1;
  int64_t left = monitor.untaken_since + TAKEN_NS - now_ns();
  return left > 0 ? (int)(left / NS_PER_MS) + 1 : 0;
}

static void check_untaken(void) {
  int signo = monitor.untaken_signal;
  if (untaken_ms() != 0) return;
  monitor.untaken = 0;
  send_report("{\"kind\":\"ended\",\"code\":%d,\"signal\":%d}\n", 128 + signo, signo);
  kill(monitor.init, SIGKILL);
}

static int start_timer(void) {
  int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
  struct itimerspec at = {.it_value = {.tv_sec = (time_t)(options.timeout_ms / 1000),
                                       .tv_nsec = (long)(options.timeout_ms % 1000) * 1000000}};
  must(timer >= 0 && (options.timeout_ms == 0 || timerfd_settime(timer, 0, &at, NULL) == 0), "timer");
  return timer;
}

static const char timeout_report[] = "{\"kind\":\"limit\",\"limit\":\"timeout\"}\n";

static void expire(void) {
  send_report("%s", timeout_report);
  close(monitor.timer);
  monitor.timer = -1;
  kill(monitor.init, SIGKILL);
}

/* ---- ends that wait for nothing ---- */

/* Async-signal-safe: it may interrupt any call of this process. */
static void give_up(int signo) {
  if (monitor.init > 0) kill(monitor.init, SIGKILL);
  restore_terminal_now();
  if (signo == OVERDUE && monitor.init > 0) {
    ssize_t written = write(REPORT_FD, timeout_report, sizeof timeout_report - 1);
    (void)written;
    waitpid(monitor.init, NULL, 0);
  }
  _exit(1);
}

static void block_urgent(sigset_t *urgent) {
  sigemptyset(urgent);
  sigaddset(urgent, PARENT_GONE);
  sigaddset(urgent, OVERDUE);
  must(sigprocmask(SIG_BLOCK, urgent, NULL) == 0, "signals");
}

/* After the start of `init`, which must have no handler. */
static void handle_urgent(const sigset_t *urgent) {
  struct sigaction gives_up = {.sa_handler = give_up};
  must(sigaction(PARENT_GONE, &gives_up, NULL) == 0 && sigaction(OVERDUE, &gives_up, NULL) == 0, "signals");
  must(sigprocmask(SIG_UNBLOCK, urgent, NULL) == 0, "signals");
}

static void start_late_timer(int signo, int seconds) {
  int timer;
  struct sigevent ends = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo};
  struct itimerspec at = {.it_value = {.tv_sec = (time_t)(options.timeout_ms / 1000) + seconds}};
  if (options.timeout_ms == 0) return;
  must(syscall(SYS_timer_create, CLOCK_MONOTONIC, &ends, &timer) == 0, "timer");
  must(syscall(SYS_timer_settime, timer, 0, &at, NULL) == 0, "timer");
  monitor.late_timers[monitor.late_timer_count++] = timer;
}

static _Noreturn void loop(void) {
  for (;;) {
    struct pollfd on[6] = {
        {.fd = monitor.signals, .events = POLLIN},
        {.fd = monitor.control, .events = POLLIN},
        {.fd = monitor.timer, .events = POLLIN},
    };
    poll_terminal(on + 3);
    if (poll(on, 6, untaken_ms()) < 0 && errno != EINTR) end(1);
    if (on[2].revents) expire();
    if (on[1].revents) handle_message();
    else check_untaken();
    relay_terminal(on + 3);
    if (on[0].revents) handle_signal();
  }
}

_Noreturn void run_monitor(void) {
  int control[2];
  sigset_t all, urgent;
  monitor.parent = getppid();
  block_signals(&all);
  block_urgent(&urgent);
  must(prctl(PR_SET_PDEATHSIG, PARENT_GONE) == 0 && getppid() == monitor.parent, "parent");
  must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0, "control");
  monitor.signals = signalfd(-1, &all, SFD_CLOEXEC);
  monitor.timer = start_timer();
  must(monitor.signals >= 0, "signals");
  int own = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  step_name = "namespaces";
  monitor.init = (pid_t)syscall(SYS_clone, own | SIGCHLD, NULL, NULL, NULL, NULL);
  must(monitor.init >= 0, "");
  if (monitor.init == 0) {
    close(control[0]);
    close(monitor.signals);
    close(monitor.timer);
    init(control[1]);
  }
  close(control[1]);
  handle_urgent(&urgent);
  start_late_timer(OVERDUE, OVERDUE_S);
  start_late_timer(SIGKILL, KILL_S);
  close(START_FD);
  monitor.control = control[0];
  loop();
}

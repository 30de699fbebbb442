/*
 * Signals of a kept wall where Landlock does not scope them (before Linux 6.12): sent here, only to its own processes.
 *
 * Problem: a wall without a PID namespace can address every process of the host, and its user may have others. A pid may be
 * reused before the kernel reads it again.
 *
 * Mechanism: a signal to the caller's own process continues, since the pid of a waiting caller cannot be reused. One to another
 * thread of it by number alone (tkill) is sent here by tgkill(2): that thread may end, and its number be reused. Any other is
 * sent here: a pidfd is opened, then its process is checked to be of the wall, and the signal is sent through the pidfd. A
 * group, or -1 (all), means those of its processes that are in the wall.
 *
 * Relies on: pidfd_open(2) (Linux 5.3), pidfd_send_signal(2) (Linux 5.1), members.c.
 *
 * Not handled: a signal to a single thread of another process reaches the process. The receiver sees this process as the
 * sender. A signal to a process outside of the wall fails with EPERM, whether or not it exists.
 */
#define _GNU_SOURCE
#include "signals.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "caller.h"
#include "members.h"
#include "notify.h"
#include "wall.h"

enum { GROUP = 3 };

int is_signal(int call) {
  return call == SYS_kill || call == SYS_tkill || call == SYS_tgkill || call == SYS_rt_sigqueueinfo ||
         call == SYS_rt_tgsigqueueinfo || call == SYS_pidfd_send_signal;
}

/* The pidfd is opened before the process is checked, so that pid reuse has no effect. */
static int send_to(pid_t pid, int signal, siginfo_t *with) {
  int process = (int)syscall(SYS_pidfd_open, pid, 0);
  if (process < 0) return errno == EINVAL || errno == ESRCH ? -EPERM : -errno;
  int failed = is_member(pid) ? 0 : -EPERM;
  if (!failed && syscall(SYS_pidfd_send_signal, process, signal, with, 0)) failed = -errno;
  close(process);
  return failed;
}

/* Signals every process of the wall except `but`, or those of one group. */
static int send_to_all(long group, pid_t but, int signal) {
  static pid_t members[MEMBERS_MAX];
  int tasks, count = members_of_wall(members, &tasks), reached = 0;
  for (int i = 0; i < count; i++) {
    if (members[i] == but || (group && stat_of(members[i], GROUP) != group)) continue;
    reached += send_to(members[i], signal, NULL) == 0;
  }
  return reached ? 0 : -ESRCH;
}

/* Pid of the process of a pidfd. */
static pid_t pid_of_pidfd(pid_t pid, int number) {
  char name[64], text[1024];
  snprintf(name, sizeof name, "/proc/%d/fdinfo/%d", pid, number);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return -1;
  text[n] = 0;
  char *at = strstr(text, "\nPid:\t");
  return at ? (pid_t)strtol(at + 6, NULL, 10) : -1;
}

static int send_kill(pid_t own, long to, int signal) {
  if (to > 0) return send_to((pid_t)to, signal, NULL);
  /* The group includes the caller. */
  if (to == 0) return send_to_all(stat_of(own, GROUP), 0, signal);
  return to == -1 ? send_to_all(0, own, signal) : send_to_all(-to, 0, signal);
}

static int send_queued(const struct seccomp_notif *request, pid_t to, int signal, uint64_t at) {
  siginfo_t with;
  if (read_bytes((pid_t)request->pid, at, &with, sizeof with)) return -EFAULT;
  if (with.si_code >= 0 || with.si_code == SI_TKILL) return -EPERM;
  with.si_signo = signal;
  return send_to(to, signal, &with);
}

void answer_signal(const struct seccomp_notif *request) {
  const __u64 *args = request->data.args;
  pid_t own = (pid_t)status_of((pid_t)request->pid, "\nTgid:", 10, 0), to = (pid_t)args[0];
  int call = request->data.nr, is_thread = call == SYS_tkill;
  if (own <= 0) return send_answer(request->id, 0, -ESRCH, 0);
  /* tkill(2) has no process argument: look up the process of the thread. */
  pid_t group = is_thread ? (pid_t)status_of(to, "\nTgid:", 10, 0) : to;
  int is_own = call != SYS_pidfd_send_signal && group == own && to > 0;
  if (is_own && (!is_thread || to == (pid_t)request->pid)) return continue_call(request);
  if (!is_request_valid(request->id)) return;
  int failed;
  switch (call) {
    case SYS_kill:
      failed = send_kill(own, to, (int)args[1]);
      break;
    case SYS_tkill:
      if (is_own) failed = syscall(SYS_tgkill, own, to, (int)args[1]) ? -errno : 0;
      else failed = group > 0 ? send_to(group, (int)args[1], NULL) : -EPERM;
      break;
    case SYS_tgkill:
      failed = send_to(to, (int)args[2], NULL);
      break;
    case SYS_rt_sigqueueinfo:
      failed = send_queued(request, to, (int)args[1], args[2]);
      break;
    case SYS_rt_tgsigqueueinfo:
      failed = send_queued(request, to, (int)args[2], args[3]);
      break;
    default:
      to = pid_of_pidfd((pid_t)request->pid, (int)args[0]);
      failed = to > 0 ? send_to(to, (int)args[1], NULL) : -EBADF;
  }
  send_answer(request->id, 0, failed, 0);
}

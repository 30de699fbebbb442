/*
 * Continued calls, driven past their effect before a phase is confirmed: the race between CONTINUE and the closing.
 *
 * Problem: a call that was continued (SECCOMP_USER_NOTIF_FLAG_CONTINUE) a moment before its class was closed may not have
 * happened yet: its thread may be runnable, or inside the kernel. A phase that is confirmed then does not hold.
 *
 * Mechanism: the last continued call of each thread is remembered in a fixed table. When its class is closed, the thread
 * is interrupted and stopped on its return to user mode, which is after the call, and released; a restarted call
 * causes a new request. The program does not notice. A thread that cannot be traced is killed, by a pidfd and after its start time was
 * compared, because pids are reused. A new request of a thread proves that its former call is over.
 *
 * Relies on: PTRACE_SEIZE and PTRACE_INTERRUPT (Linux 3.4), ptrace(2); /proc/PID/syscall and field 22 of /proc/PID/stat,
 * proc(5); pidfd_open(2) (Linux 5.3).
 *
 * Not handled: more threads with continued calls than the table holds. They are counted, and the wall ends when a class
 * is closed. A thread that stays in its call for longer than SETTLE_MS_MAX ends the wall as well.
 */
#define _GNU_SOURCE
#include "settle.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "caller.h"
#include "execs.h"
#include "keep.h"
#include "notify.h"
#include "opens.h"
#include "wall.h"

enum {
  TASKS_MAX = 4096,
  PROBES_MAX = 8,
  SETTLE_MS_MAX = 700,
  /* Field number in /proc/PID/stat. */
  START_TIME_FIELD = 22,
};

static struct task {
  pid_t tid;
  /* Thread group: a thread that calls execve takes over its leader's pid. */
  pid_t group;
  int call;
  uint64_t at;
  /* Start of settling; 0 if the thread is not settling. */
  uint64_t settles;
  int is_traced, is_killed;
} tasks[TASKS_MAX];
int settling_count, traced_count;

/* True if a continued call may still take effect: the thread is running, or is in that call. */
static int may_be_in_call(pid_t tid, int call) {
  char name[64], text[64] = "";
  snprintf(name, sizeof name, "/proc/%d/syscall", tid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno != ENOENT && errno != ESRCH;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return errno != ESRCH;
  return text[0] == 'r' || atoi(text) == call;
}

static void clear_task(struct task *task) {
  settling_count -= task->settles > 0;
  memset(task, 0, sizeof *task);
}

/* Slot of this thread, else a free one near its hash, else that of a finished call. NULL if there is none: a
 * guest with thousands of threads cannot evict entries. */
static struct task *slot_for(pid_t tid) {
  unsigned int first = (unsigned int)tid % TASKS_MAX;
  struct task *vacant = NULL;
  for (unsigned int i = 0; i < PROBES_MAX; i++) {
    struct task *at = &tasks[(first + i) % TASKS_MAX];
    if (at->tid == tid) return at;
    if (!vacant && at->tid == 0) vacant = at;
  }
  for (unsigned int i = 0; !vacant && i < TASKS_MAX; i++) {
    struct task *at = &tasks[(first + i) % TASKS_MAX];
    if (at->tid == tid || at->tid == 0 || !may_be_in_call(at->tid, at->call)) vacant = at;
  }
  return vacant;
}

/* Records the last continued call of a thread: until it has finished it may still take effect. A new request
 * proves that the previous call has finished. A thread that does not fit is treated as never finished. */
void record_continued(const struct seccomp_notif *request) {
  pid_t tid = (pid_t)request->pid;
  struct task *task = slot_for(tid);
  if (!task) {
    wall.untracked++;
    return;
  }
  clear_task(task);
  task->tid = tid;
  task->call = request->data.nr;
  task->at = now_ns();
  int is_exec = wall.class_of[task->call] == EXEC + 1;
  task->group = is_exec ? (pid_t)status_of(tid, "\nTgid:", 10, 0) : 0;
}

static void detach(pid_t tid, int status) {
  int signal = status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
  ptrace(PTRACE_DETACH, tid, 0, signal);
}

/* A ptrace stop is on return to user mode, hence after the call. Returns the number of traced calls of the thread. */
static int forget_traced(pid_t tid) {
  int traced = 0;
  for (int i = 0; i < TASKS_MAX; i++) {
    if (tasks[i].tid != tid || !tasks[i].is_traced) continue;
    clear_task(&tasks[i]);
    traced++;
  }
  return traced;
}

/* A keeper must also reap all processes of its wall. */
void release_stopped(void) {
  for (int status, tid; (wall.is_kept || traced_count > 0) && (tid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
    if (tid == wall.capturing) {
      wall.capturing = 0;
      continue;
    }
    int traced = forget_traced(tid);
    if (wall.is_kept && !WIFSTOPPED(status)) child_exited(tid, status);
    traced_count -= wall.is_kept ? traced > 0 : 1;
    if (WIFSTOPPED(status)) detach(tid, status);
  }
}

/* Start time of a thread, in ticks since boot; 0 if unknown. */
static uint64_t start_time_of(pid_t tid) {
  char name[64], text[1024];
  snprintf(name, sizeof name, "/proc/%d/stat", tid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  char *at = strrchr(text, ')');
  for (int field = 2; at && field < START_TIME_FIELD; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at, NULL, 10) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK)) : 0;
}

/* True if the pid was reused: another PID namespace, or a later start time. */
static int is_pid_reused(pid_t tid, uint64_t since) {
  ino_t table = pid_namespace_of(tid);
  return (table && table != wall.pid_namespace) || start_time_of(tid) > since;
}

/* Kills a process that cannot be traced: unreadable, or traced inside the wall. By pidfd, and verified again
 * after opening it, because of pid reuse. */
static void kill_untraceable(struct task *task) {
  int process = (int)syscall(SYS_pidfd_open, task->tid, PIDFD_THREAD);
  if (process < 0) process = (int)syscall(SYS_pidfd_open, status_of(task->tid, "\nTgid:", 10, 0), 0);
  if (process >= 0 && !is_pid_reused(task->tid, task->at))
    task->is_killed = syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) == 0;
  if (process >= 0) close(process);
}

/* A pending request proves that the thread's previous call has finished. */
static int has_new_request(pid_t tid) { return is_received(tid) || is_pending_exec(tid); }

/* True if the thread's continued call has finished; otherwise it is interrupted and stopped on its way out
 * (PTRACE_INTERRUPT). */
static int has_finished(struct task *task) {
  pid_t tid = task->tid;
  if (has_new_request(tid)) return 1;
  if (task->is_traced || task->is_killed) return has_ended(tid);
  if (has_ended(tid) && task->group > 0 && task->group != tid) tid = task->tid = task->group;
  if (has_ended(tid) || is_pid_reused(tid, task->at) || !may_be_in_call(tid, task->call)) return 1;
  if (ptrace(PTRACE_SEIZE, tid, 0, 0) == 0) {
    ptrace(PTRACE_INTERRUPT, tid, 0, 0);
    traced_count++;
    task->is_traced = 1;
  } else if (errno == ESRCH || has_ended(tid)) {
    return 1;
  } else if (status_of(tid, "\nTracerPid:", 10, 0) == getpid()) {
    task->is_traced = 1;
  } else if (now_ns() > task->settles + SETTLE_US * 1000u) {
    kill_untraceable(task);
  }
  return 0;
}

/* A call continued a moment ago may still be runnable, or inside the kernel. Each thread whose last call was of
 * a closed class is driven to its return to user mode, which is after the call, and released; an interrupted
 * call is restarted and notified again. The program does not notice. A phase holds when all of them are past; on a
 * timeout the wall is ended. */
void begin_settling(uint8_t withdrawn) {
  uint64_t now = now_ns();
  for (int i = 0; i < TASKS_MAX; i++) {
    struct task *task = &tasks[i];
    if (!task->tid || task->settles) continue;
    uint8_t classes = (uint8_t)(1 << (wall.class_of[task->call] - 1));
    if (is_open(task->call)) classes = 1 << WRITE | 1 << OUTSIDE;
    if (!(classes & withdrawn)) continue;
    task->settles = now;
    settling_count++;
  }
}

void settle(void) {
  release_stopped();
  for (int i = 0; settling_count > 0 && i < TASKS_MAX; i++)
    if (tasks[i].settles && has_finished(&tasks[i])) clear_task(&tasks[i]);
}

int is_settling_late(void) {
  uint64_t oldest = UINT64_MAX;
  for (int i = 0; i < TASKS_MAX; i++)
    if (tasks[i].settles && tasks[i].settles < oldest) oldest = tasks[i].settles;
  return settling_count > 0 && now_ns() > oldest + SETTLE_MS_MAX * 1000000ull;
}

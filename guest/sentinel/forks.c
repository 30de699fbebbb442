/*
 * New processes and threads of a kept wall: each is a request.
 *
 * Problem: without its own PID namespace, uid or cgroup, the kernel does not count the processes of a wall, and does not stop
 * them from forking while they are being killed.
 *
 * Mechanism: fork, vfork and clone are notified. At the limit they fail with EAGAIN. Below it they continue: their arguments
 * are in registers, and the fixed filter has checked them. Processes are counted again only when the forks since the last
 * count might have reached the limit. After the listener is closed the kernel refuses all of them (keep.c).
 *
 * Relies on: members.c; SECCOMP_USER_NOTIF_FLAG_CONTINUE (Linux 5.5). libc blocks all signals around a fork or the start of
 * a thread, so that the request is not interrupted.
 *
 * Not handled: clone3(2), which the fixed filter answers with ENOSYS, since its flags are in memory. Forks that were continued
 * before a count and happen after it, one for each thread at most: a wall can have up to twice its limit.
 */
#define _GNU_SOURCE
#include "forks.h"
#include <errno.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include "control.h"
#include "lines.h"
#include "members.h"
#include "notify.h"
#include "reports.h"
#include "wall.h"

/* Forks permitted before the next count; true if one was refused since the limit was set. */
static int forks_left, has_refused;

int is_fork(int call) {
#ifdef SYS_fork
  if (call == SYS_fork || call == SYS_vfork) return 1;
#endif
  return call == SYS_clone;
}

static int is_below_limit(void) {
  static pid_t members[MEMBERS_MAX];
  int tasks;
  if (forks_left > 0) return forks_left--;
  members_of_wall(members, &tasks);
  forks_left = wall.tasks_max - tasks;
  return forks_left > 0 ? forks_left-- : 0;
}

void answer_fork(const struct seccomp_notif *request) {
  if (!(wall.allowed & 1 << PROCESS)) {
    wall.denied++;
    report((pid_t)request->pid, request->data.nr, PROCESS, 1, 0, NULL);
    return send_answer(request->id, 0, -wall.errors[PROCESS], 0);
  }
  if (is_below_limit()) return continue_call(request);
  /* Sent before the caller can report its failure. */
  if (!has_refused) SEND_LINE("{\"kind\":\"crowded\"}\n");
  has_refused = 1;
  send_answer(request->id, 0, -EAGAIN, 0);
}

/* Lowers the limit, never raises it; forces a new count, and a new report of the first refusal. */
int lower_task_limit(const uint8_t *at, size_t bytes) {
  if (bytes != 4 || !wall.is_kept) return 0;
  uint32_t most = u32_at(at);
  if (most < (uint32_t)wall.tasks_max) wall.tasks_max = (int)most;
  forks_left = 0;
  has_refused = 0;
  return 1;
}

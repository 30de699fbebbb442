/*
 * The wall of this process: its policy, and its end.
 *
 * Problem: the warden may be killed at any moment (OOM killer), and no process of the wall may survive it.
 *
 * Mechanism: `wall.allowed` is a set of classes that is changed only by `&=`, so that no table and no order of tables can
 * widen it. To end the wall, the first process of its PID namespace is killed through a pidfd that was opened when it was
 * handed over; the kernel then kills all others of the namespace. The bounds of its cgroup are lifted after that, or a wall
 * without CPU time would die slowly. The kernel signals the warden's death (PR_SET_PDEATHSIG); end_wall is therefore async-
 * signal-safe.
 *
 * Relies on: pidfd_send_signal(2) (Linux 5.1); pid_namespaces(7) on the death of a namespace's first process;
 * CLOCK_BOOTTIME (Linux 2.6.39), which advances while the machine is suspended; signal-safety(7).
 *
 * A wall without a PID namespace of its own is ended by its keeper (keep.c). Not handled: a wall with neither; it has no
 * first process, and its handover fails (start.c).
 */
#define _GNU_SOURCE
#include "wall.h"
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "keep.h"

const char *const class_names[CLASSES] = {"exec", "process", "network", "write", "outside"};

struct wall wall = {.allowed = ALL, .listener = -1, .root = -1, .init = -1, .parent = -1, .sockets = -1, .pids_max_fd = -1};

uint64_t ns_of(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) {
  return ns_of(CLOCK_BOOTTIME);
}

/* Also called from the signal handler: async-signal-safe calls only. A process without CPU time dies slowly, so
 * the wall's CPU bounds are lifted once it can execute no instruction. */
_Noreturn void end_wall(int status) {
  wall.allowed = 0;
  if (wall.is_kept) end_kept(KILLED);
  if (wall.init >= 0) syscall(SYS_pidfd_send_signal, wall.init, SIGKILL, NULL, 0);
  for (int i = 0; i < wall.lift_count; i++)
    if (write(wall.lift_fds[i], wall.lift_texts[i], strlen(wall.lift_texts[i])) < 0) continue;
  _exit(status);
}

void on_parent_death(int signal) {
  (void)signal;
  end_wall(LOST_WARDEN);
}

/*
 * Passes descriptors to callers (ADDFD), and bounds the time for which the wall can block this process.
 *
 * Problem: SECCOMP_IOCTL_NOTIF_ADDFD waits until the thread of the caller runs. A guest that stops the thread (SIGSTOP, a
 * frozen cgroup, no CPU time) could block this process, and phase changes, forever.
 *
 * Mechanism: a timer interrupts the ioctl after two milliseconds. The descriptor is then queued and retried, the oldest
 * first, less often while all attempts fail. A phase change in between checks queued descriptors again.
 *
 * Relies on: SECCOMP_IOCTL_NOTIF_ADDFD (Linux 5.9), seccomp_unotify(2); setitimer(2), with a handler that is installed
 * without SA_RESTART.
 *
 * Not handled: descriptors that the caller already holds.
 */
#define _GNU_SOURCE
#include "give.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>
#include "notify.h"
#include "opens.h"
#include "wall.h"

/* Descriptors whose thread has not run yet (ADDFD pending). */
static struct {
  uint64_t id;
  int fd, writes, closes_on_exec;
} pending_fds[PENDING_FDS_MAX];
int pending_fd_count, failed_attempts;

/* Two operations here block on the wall: SECCOMP_IOCTL_NOTIF_ADDFD waits until the thread runs, and connect
 * blocks if the wall makes its socket blocking again. A wall could make them wait for ever, so a timer
 * interrupts them (EINTR); phases must not be delayed. */
void set_interrupt_timer(int us) {
  struct itimerval soon = {.it_interval = {.tv_usec = us}, .it_value = {.tv_usec = us}};
  setitimer(ITIMER_REAL, &soon, NULL);
}

/* Returns 0 when done, in success or failure; the descriptor stays open here. */
static int try_pass(uint64_t id, int fd, int closes_on_exec) {
  struct seccomp_notif_addfd given = {
      .id = id,
      .srcfd = (uint32_t)fd,
      .newfd_flags = closes_on_exec ? O_CLOEXEC : 0,
  };
  set_interrupt_timer(BLOCK_US_MAX);
  int number = ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_ADDFD, &given), error = errno;
  set_interrupt_timer(0);
  failed_attempts = number < 0 && error == EINTR ? failed_attempts + (failed_attempts < FAILED_ATTEMPTS_MAX) : 0;
  if (number >= 0) send_answer(id, number, 0, 0);
  else if (error == EINTR) return -EAGAIN;
  else if (error != ENOENT) send_answer(id, 0, error == EMFILE ? -EMFILE : -EACCES, 0);
  return 0;
}

/* Takes ownership of the descriptor, and passes it to the caller, which may write to it or not. */
void pass_descriptor(uint64_t id, int fd, int writes, int closes_on_exec) {
  if (try_pass(id, fd, closes_on_exec) == 0) {
    close(fd);
    return;
  }
  pending_fds[pending_fd_count].id = id;
  pending_fds[pending_fd_count].fd = fd;
  pending_fds[pending_fd_count].writes = writes;
  pending_fds[pending_fd_count++].closes_on_exec = closes_on_exec;
}

static void drop_pending_fd(int i) {
  close(pending_fds[i].fd);
  memmove(pending_fds + i, pending_fds + i + 1, (size_t)(--pending_fd_count - i) * sizeof pending_fds[0]);
}

/* Retries the oldest one; if it is still pending, it moves to the end. */
void retry_pending_fd(void) {
  uint64_t id = pending_fds[0].id;
  int fd = pending_fds[0].fd, writes = pending_fds[0].writes, closes_on_exec = pending_fds[0].closes_on_exec;
  memmove(pending_fds, pending_fds + 1, (size_t)--pending_fd_count * sizeof pending_fds[0]);
  pass_descriptor(id, fd, writes, closes_on_exec);
}

/* Withdraws pending descriptors that the current phase no longer allows. */
void recheck_pending_fds(void) {
  for (int i = pending_fd_count - 1; i >= 0; i--) {
    int failed = check_file(pending_fds[i].fd, pending_fds[i].writes);
    if (!failed) continue;
    wall.denied++;
    send_answer(pending_fds[i].id, 0, failed, 0);
    drop_pending_fd(i);
  }
}

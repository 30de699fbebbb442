/*
 * Descriptors that are put into a caller, and a bound on the time for which the wall can hold this process up.
 *
 * Problem: SECCOMP_IOCTL_NOTIF_ADDFD waits until the thread of the caller runs. A guest that stops the thread (SIGSTOP, a
 * frozen cgroup, no CPU time) could make this process wait for ever, and phases with it.
 *
 * Mechanism: a timer interrupts the ioctl after two milliseconds. What was interrupted is queued and tried again later,
 * the oldest first, less often when all attempts fail. A phase that turns in between judges what is queued once more.
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
} giving[GIVING_MAX];
int giving_count, given_in_vain;

/* Two operations here block on the wall: SECCOMP_IOCTL_NOTIF_ADDFD waits until the thread runs, and connect
 * blocks if the wall makes its socket blocking again. A wall could make them wait for ever, so a timer
 * interrupts them (EINTR); phases must not be delayed. */
void be_impatient(int us) {
  struct itimerval soon = {.it_interval = {.tv_usec = us}, .it_value = {.tv_usec = us}};
  setitimer(ITIMER_REAL, &soon, NULL);
}

/* Returns 0 when done, in success or failure; the descriptor stays open here. */
static int give_now(uint64_t id, int fd, int closes_on_exec) {
  struct seccomp_notif_addfd given = {
      .id = id,
      .srcfd = (uint32_t)fd,
      .newfd_flags = closes_on_exec ? O_CLOEXEC : 0,
  };
  be_impatient(PATIENCE_US);
  int number = ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_ADDFD, &given), error = errno;
  be_impatient(0);
  given_in_vain = number < 0 && error == EINTR ? given_in_vain + (given_in_vain < IN_VAIN_MAX) : 0;
  if (number >= 0) send_answer(id, number, 0, 0);
  else if (error == EINTR) return -EAGAIN;
  else if (error != ENOENT) send_answer(id, 0, error == EMFILE ? -EMFILE : -EACCES, 0);
  return 0;
}

/* Takes ownership of the descriptor, and passes it to the caller, which may write to it or not. */
void give_descriptor(uint64_t id, int fd, int writes, int closes_on_exec) {
  if (give_now(id, fd, closes_on_exec) == 0) {
    close(fd);
    return;
  }
  giving[giving_count].id = id;
  giving[giving_count].fd = fd;
  giving[giving_count].writes = writes;
  giving[giving_count++].closes_on_exec = closes_on_exec;
}

static void drop_giving(int i) {
  close(giving[i].fd);
  memmove(giving + i, giving + i + 1, (size_t)(--giving_count - i) * sizeof giving[0]);
}

/* Retries the oldest one; if it is still pending, it moves to the end. */
void try_giving(void) {
  uint64_t id = giving[0].id;
  int fd = giving[0].fd, writes = giving[0].writes, closes_on_exec = giving[0].closes_on_exec;
  memmove(giving, giving + 1, (size_t)--giving_count * sizeof giving[0]);
  give_descriptor(id, fd, writes, closes_on_exec);
}

/* Withdraws pending descriptors that the current phase no longer allows. */
void judge_giving(void) {
  for (int i = giving_count - 1; i >= 0; i--) {
    int failed = judged(giving[i].fd, giving[i].writes);
    if (!failed) continue;
    wall.denied++;
    send_answer(giving[i].id, 0, failed, 0);
    drop_giving(i);
  }
}

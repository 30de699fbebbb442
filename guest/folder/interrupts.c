/*
 * Signals of callers that wait for an answer: opens of pipes, connects.
 *
 * Problem. A signal does not interrupt a caller that waits for this process (WAIT_KILLABLE_RECV), unless it kills.
 *
 * Mechanism. The waiting call is answered with ERESTARTSYS, as the kernel would, when its caller has a signal to take: the kernel
 * restarts the call, or makes it EINTR. Ignored signals are never pending. A signal to a process of several threads may be that of another
 * thread, where ERESTARTSYS would reach the program: it gets EINTR, and only if no thread took the signal between two looks.
 *
 * Relies on proc(5).
 */
#define _GNU_SOURCE
#include "interrupts.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ERESTARTSYS: of the kernel's include/linux/errno.h, which no header of user space has. */
enum { ERESTARTSYS = 512, STATUS_BYTES = 4096 };

int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t mask_in(const char *status, const char *line) {
  const char *at = strstr(status, line);
  return at ? strtoull(at + strlen(line), NULL, 16) : 0;
}

int interruption(pid_t caller, int *was_signalled) {
  char name[64], status[STATUS_BYTES];
  snprintf(name, sizeof name, "/proc/%d/status", caller);
  int fd = open(name, O_RDONLY | O_CLOEXEC), before = *was_signalled;
  if (fd < 0) return 0;
  ssize_t n = read(fd, status, sizeof status - 1);
  close(fd);
  if (n <= 0) return 0;
  status[n] = 0;
  uint64_t open = ~mask_in(status, "\nSigBlk:"), own = mask_in(status, "\nSigPnd:") & open;
  uint64_t shared = mask_in(status, "\nShdPnd:") & open;
  *was_signalled = shared != 0;
  if (own || (shared && strstr(status, "\nThreads:\t1\n"))) return -ERESTARTSYS;
  return shared && before ? -EINTR : 0;
}

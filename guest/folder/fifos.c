/*
 * Opens of pipes by a name, performed on behalf of the caller: named FIFOs, and pipes below /proc/PID/fd.
 *
 * Problem. The open of a named FIFO waits for its other end, which another process of the wall may open: by a call that this
 * process has to answer. It must never wait itself, whatever the caller does, and however many opens wait.
 *
 * Mechanism. An anonymous pipe never waits (fs/pipe.c), nor does an open with O_NONBLOCK or O_RDWR. Any other open of a FIFO is
 * made with O_NONBLOCK and kept in a list until its other end is there, then passed to the caller without that flag.
 * - For reading, the kernel opens it at once, which lets writers in. It stays in the list until it has had a writer: its data or
 *   its end are there by poll(2), or tee(2) finds that more may follow (EAGAIN, not 0).
 * - For writing, the kernel answers ENXIO without a reader: the open is tried again.
 * All opens of the wall come through here, and each successful one looks at the list at once. Only for a program outside that opens
 * the other end, a killed caller and a signal is the list looked at every FIFOS_MS.
 *
 * The list is bounded by FIFOS_MAX, which is above the limit of processes: a thread waits for one open.
 *
 * Relies on fifo(7), tee(2), proc(5).
 *
 * Not handled: a poll(2) outside of the wall does not see a writer that waits.
 */
#define _GNU_SOURCE
#include "fifos.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../sentinel/caller.h"
#include "interrupts.h"
#include "requests.h"
#include "resolve.h"

enum { FIFOS_MAX = 2048, FIFOS_MS = 50, PIPEFS = 0x50495045 };

/* `fd`: the reading end, open without waiting; or for a writer, the descriptor to open anew. */
static struct fifo {
  uint64_t id, flags;
  pid_t pid;
  int fd, is_signalled;
} fifos[FIFOS_MAX];
static int fifo_count;
static int64_t next_ms;

static int is_writer(uint64_t flags) {
  return (flags & O_ACCMODE) == O_WRONLY;
}

static int may_wait(int fd, uint64_t flags) {
  struct statfs system;
  int access = (int)flags & O_ACCMODE;
  if (flags & O_NONBLOCK || (access != O_RDONLY && access != O_WRONLY)) return 0;
  return fstatfs(fd, &system) || (unsigned long)system.f_type != PIPEFS;
}

/* ---- the other end ---- */

/* True if the reading end of a FIFO has a writer, or had one since it was opened. */
static int has_had_writer(int fd) {
  static int spare[2] = {-1, -1};
  struct pollfd on = {.fd = fd, .events = POLLIN};
  char byte;
  if (poll(&on, 1, 0) > 0) return 1;
  if (spare[0] < 0 && pipe2(spare, O_CLOEXEC | O_NONBLOCK)) return 0;
  ssize_t n = tee(fd, spare[1], 1, SPLICE_F_NONBLOCK);
  if (n > 0 && read(spare[0], &byte, 1) < 0) errno = 0;
  return n > 0 || (n < 0 && errno == EAGAIN);
}

/* Returns the descriptor for the caller, or PENDING as long as the other end is missing. */
static int try_open(const struct fifo *one) {
  int fd = one->fd;
  if (is_writer(one->flags)) {
    fd = reopen(one->fd, one->flags | O_NONBLOCK);
    if (fd < 0) return fd == -ENXIO ? PENDING : fd;
  } else if (!has_had_writer(fd)) {
    return PENDING;
  }
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  return fd;
}

/* ---- the list ---- */

static void drop(int at) {
  close(fifos[at].fd);
  fifos[at] = fifos[--fifo_count];
}

/* The reading end of a killed caller must not let a writer in. */
static void drop_gone(void) {
  for (int i = fifo_count - 1; i >= 0; i--)
    if (!is_request_valid(fifos[i].id)) drop(i);
}

static void answer_ready(int writers) {
  for (int i = fifo_count - 1; i >= 0; i--) {
    if (is_writer(fifos[i].flags) != writers) continue;
    int fd = try_open(&fifos[i]);
    if (fd == PENDING) continue;
    if (fd < 0) send_answer(fifos[i].id, 0, fd);
    else send_descriptor(fifos[i].id, fd, fifos[i].flags);
    if (fd >= 0 && writers) close(fd);
    drop(i);
  }
}

/* Writers first: a reader ends to wait by one. */
static void answer_all_ready(void) {
  answer_ready(1);
  answer_ready(0);
}

/* ---- calls ---- */

void check_fifos(void) {
  if (fifo_count == 0 || now_ms() < next_ms) return;
  drop_gone();
  answer_all_ready();
  for (int i = fifo_count - 1; i >= 0; i--) {
    int failed = interruption(fifos[i].pid, &fifos[i].is_signalled);
    if (!failed) continue;
    send_answer(fifos[i].id, 0, failed);
    drop(i);
  }
  next_ms = now_ms() + FIFOS_MS;
}

int fifo_wait_ms(void) {
  if (fifo_count == 0) return -1;
  int64_t wait = next_ms - now_ms();
  return wait > 0 ? (int)wait : 0;
}

int open_fifo(const struct seccomp_notif *request, int fd, uint64_t flags) {
  struct fifo own = {.id = request->id, .pid = (pid_t)request->pid, .flags = flags};
  int waits = may_wait(fd, flags);
  drop_gone();
  if (waits && fifo_count == FIFOS_MAX) return -EAGAIN;
  int is_reader = waits && !is_writer(flags);
  own.fd = waits && !is_reader ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : reopen(fd, flags | (waits ? O_NONBLOCK : 0));
  if (own.fd < 0) return waits && !is_reader ? -errno : own.fd;
  int opened = waits ? try_open(&own) : own.fd;
  if (opened == PENDING) {
    if (fifo_count == 0) next_ms = now_ms() + FIFOS_MS;
    fifos[fifo_count++] = own;
  } else if (opened != own.fd) {
    close(own.fd);
  }
  if (is_reader || opened >= 0) answer_all_ready();
  return opened;
}

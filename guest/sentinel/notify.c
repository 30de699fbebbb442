/*
 * Requests of the filter (notifications): received, dispatched by class, answered.
 *
 * Problem: until a request is received, a signal to its caller interrupts it with EINTR, which few programs expect of an
 * open; and a flood of requests must not starve the warden's messages.
 *
 * Mechanism: all pending requests are received into a ring before the next one is answered, and one is answered for each
 * pass of the loop. CONTINUE lets the kernel read the arguments again (TOCTOU), so it is answered only where no argument in
 * memory was judged: where a class is open as a whole, or by numbers that are in registers.
 *
 * Relies on: seccomp_unotify(2); SECCOMP_USER_NOTIF_FLAG_CONTINUE (Linux 5.5); SECCOMP_GET_NOTIF_SIZES, since the structure
 * of a newer kernel may be larger.
 *
 * Not handled: calls that the fixed filter refuses; they cause no notification.
 */
#define _GNU_SOURCE
#include "notify.h"
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "connects.h"
#include "execs.h"
#include "forks.h"
#include "modes.h"
#include "opens.h"
#include "reports.h"
#include "settle.h"
#include "signals.h"
#include "sockets.h"
#include "syncs.h"
#include "wall.h"
#include "watches.h"

enum { RECEIVED_MAX = 64 };

static struct seccomp_notif received[RECEIVED_MAX];
static int received_first;
int received_count;

/* Scalar calls that were reported once. */
static uint8_t reported[CALLS_MAX];

int is_received(pid_t tid) {
  for (int i = 0; i < received_count; i++)
    if ((pid_t)received[(received_first + i) % RECEIVED_MAX].pid == tid) return 1;
  return 0;
}

void send_answer(uint64_t id, int64_t value, int error, uint32_t flags) {
  struct seccomp_notif_resp answer = {.id = id, .val = value, .error = error, .flags = flags};
  wall.answered++;
  /* ENOENT: the caller was killed. */
  if (ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT && errno != EINPROGRESS)
    end_wall(ENDED_WELL);
}

void continue_call(const struct seccomp_notif *request) {
  record_continued(request);
  send_answer(request->id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

static void report_scalar(const struct seccomp_notif *request, int class, int is_denied) {
  int call = request->data.nr;
  if (!wall.reports || (reported[call] && !is_denied && class != EXEC)) return;
  reported[call] = 1;
  if (class == EXEC) report_exec(request, is_denied);
  else report((pid_t)request->pid, call, class, is_denied, class == WRITE, NULL);
}

/* Calls that are notified only in a wall without its own root and PID namespace. */
static int answer_kept(const struct seccomp_notif *request) {
  int call = request->data.nr;
  if (is_fork(call)) answer_fork(request);
  else if (call == SYS_socket) answer_socket(request);
  else if (call == SYS_connect) answer_kept_connect(request);
  else if (call == SYS_bind) answer_kept_bind(request);
  else if (call == SYS_listen) answer_listen(request);
  else if (is_signal(call)) answer_signal(request);
  else if (is_mode(call) && wall.is_shared) answer_mode(request);
  else return 0;
  return 1;
}

static void answer(const struct seccomp_notif *request) {
  int call = request->data.nr;
  if (call == SYS_inotify_add_watch) return answer_watch(request);
  if (call == SYS_fsync || call == SYS_fdatasync) return answer_sync(request);
  if (call < 0 || call >= CALLS_MAX || !wall.class_of[call]) return send_answer(request->id, 0, -EPERM, 0);
  int class = wall.class_of[call] - 1;
  if (is_open(call)) return answer_open(request);
  if (wall.is_kept && answer_kept(request)) return;
  if (call == SYS_connect && !(wall.allowed & 1 << NETWORK)) return answer_connect(request);
  if (call == SYS_bind && !(wall.allowed & 1 << WRITE)) return answer_bind(request);
  int is_denied = !(wall.allowed & 1 << class);
  wall.denied += (uint64_t)is_denied;
  report_scalar(request, class, is_denied);
  if (is_denied) send_answer(request->id, 0, -wall.errors[class], 0);
  else if (class == EXEC && wall.defers_execs) defer_exec(request);
  else continue_call(request);
}

/* The kernel's structure may be larger than ours: extra bytes are ignored. */
static int receive(struct seccomp_notif *to) {
  static struct seccomp_notif *request;
  static size_t bytes;
  if (!request) {
    struct seccomp_notif_sizes sizes = {0};
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes)) end_wall(BAD_START);
    bytes = sizes.seccomp_notif > sizeof *request ? sizes.seccomp_notif : sizeof *request;
    if (!(request = malloc(bytes))) end_wall(BAD_START);
  }
  memset(request, 0, bytes);
  if (ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_RECV, request)) {
    if (errno != ENOENT && errno != EINTR) end_wall(ENDED_WELL);
    return 0;
  }
  *to = *request;
  return 1;
}

/* Until a request is received, a signal to its caller interrupts it with EINTR, which not every program expects
 * of an open: receive all before answering any. */
void receive_all(void) {
  struct pollfd on = {.fd = wall.listener, .events = POLLIN};
  while (received_count < RECEIVED_MAX) {
    received_count += receive(&received[(received_first + received_count) % RECEIVED_MAX]);
    if (poll(&on, 1, 0) != 1 || !(on.revents & POLLIN)) return;
  }
}

/* A single request per loop pass, so that a flood cannot starve the control socket. */
void answer_one(void) {
  const struct seccomp_notif *request = &received[received_first];
  received_first = (received_first + 1) % RECEIVED_MAX;
  received_count--;
  answer(request);
}

/*
 * Brokered connects and binds: performed here, on a copy of the address.
 *
 * Problem: with the network closed, processes of a wall may still connect to each other by Unix sockets; with writing closed
 * no socket may create a file. Both depend on an address in memory that another thread may change (TOCTOU).
 *
 * Mechanism: the socket is duplicated and its family read from it; the address is copied. A connect goes to a Unix socket
 * below the wall's own root, or to an abstract name, and never blocks: one that would block is queued and retried until it
 * succeeds, fails, or its caller exits. A bind is made here, to any address except a path.
 *
 * Relies on: pidfd_getfd(2) (Linux 5.6), which shares the open socket with its owner; unix(7) on /proc/self/fd in sun_path;
 * getsockopt(2) SO_DOMAIN (Linux 2.6.32).
 *
 * Not handled: the peer sees this process (SO_PEERCRED), of the same uid. Sockets that were connected before stay open
 * here; the egress path cuts them when the network is closed.
 */
#define _GNU_SOURCE
#include "connects.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "caller.h"
#include "give.h"
#include "notify.h"
#include "paths.h"
#include "reports.h"
#include "wall.h"

enum { PENDING_CONNECTS_MAX = 16 };

static struct {
  uint64_t id;
  int socket, path_fd;
  struct sockaddr_un to;
  socklen_t bytes;
} pending_connects[PENDING_CONNECTS_MAX];
int pending_connect_count;

/* Non-blocking connect: sets O_NONBLOCK for its duration. */
static int try_connect(int socket, const struct sockaddr_un *to, socklen_t bytes, int *would_block) {
  int flags = fcntl(socket, F_GETFL);
  *would_block = flags >= 0 && !(flags & O_NONBLOCK);
  if (*would_block) fcntl(socket, F_SETFL, flags | O_NONBLOCK);
  set_interrupt_timer(BLOCK_US_MAX);
  int failed = connect(socket, (const struct sockaddr *)to, bytes) ? -errno : 0;
  set_interrupt_timer(0);
  if (*would_block) fcntl(socket, F_SETFL, flags);
  if (failed != -EINTR) return failed;
  /* Race: the wall removed O_NONBLOCK, and the connect blocked. */
  *would_block = 1;
  return -EINTR;
}

static void drop_connect(int i) {
  close_copy(pending_connects[i].socket);
  if (pending_connects[i].path_fd >= 0) close(pending_connects[i].path_fd);
  pending_connects[i] = pending_connects[--pending_connect_count];
}

void retry_connects(void) {
  for (int i = pending_connect_count - 1; i >= 0; i--) {
    int would_block, failed = try_connect(pending_connects[i].socket, &pending_connects[i].to, pending_connects[i].bytes, &would_block);
    int is_unfinished = failed == -EAGAIN || failed == -EINTR;
    if (!is_unfinished || !is_request_valid(pending_connects[i].id)) {
      send_answer(pending_connects[i].id, 0, is_unfinished ? -EAGAIN : failed, 0);
      drop_connect(i);
    }
    /* EINTR: the interrupt timer fired. */
    if (failed == -EINTR) return;
  }
}

/* With the network closed, only sockets between the wall's own processes work. The duplicated socket
 * (pidfd_getfd) decides the family, the copied address the destination. A path is resolved in the wall's own
 * root. */
static int connect_as_caller(const struct seccomp_notif *request, int socket, int *is_queued) {
  struct sockaddr_un to = {0};
  int domain;
  socklen_t size = sizeof domain;
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != AF_UNIX) return -wall.errors[NETWORK];
  uint64_t bytes = request->data.args[2];
  if (bytes < offsetof(struct sockaddr_un, sun_path) || bytes > sizeof to) return -EINVAL;
  if (read_bytes((pid_t)request->pid, request->data.args[1], &to, bytes)) return -EFAULT;
  if (to.sun_family != AF_UNIX) return -wall.errors[NETWORK];
  int path_fd = -1;
  if (bytes > offsetof(struct sockaddr_un, sun_path) && to.sun_path[0]) {
    char path[sizeof to.sun_path + 1] = "", whole[PATH_BYTES_MAX];
    memcpy(path, to.sun_path, bytes - offsetof(struct sockaddr_un, sun_path));
    int failed = absolute_path((pid_t)request->pid, AT_FDCWD, path, whole, sizeof whole);
    path_fd = failed ? failed : open_below(wall.root, whole, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (path_fd < 0) return path_fd;
    snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d", path_fd);
    bytes = sizeof to;
  }
  int would_block, failed = is_request_valid(request->id) ? try_connect(socket, &to, (socklen_t)bytes, &would_block) : -ENOENT;
  if (failed == -EINTR) failed = -EAGAIN;
  if (failed == -EAGAIN && would_block && pending_connect_count < PENDING_CONNECTS_MAX) {
    pending_connects[pending_connect_count].id = request->id;
    pending_connects[pending_connect_count].socket = socket;
    pending_connects[pending_connect_count].path_fd = path_fd;
    pending_connects[pending_connect_count].to = to;
    pending_connects[pending_connect_count++].bytes = (socklen_t)bytes;
    *is_queued = 1;
    return 0;
  }
  if (path_fd >= 0) close(path_fd);
  return failed;
}

void answer_connect(const struct seccomp_notif *request) {
  int is_queued = 0, socket = copy_descriptor((pid_t)request->pid, (int)request->data.args[0]);
  int failed = socket < 0 ? socket : connect_as_caller(request, socket, &is_queued);
  if (is_queued) return;
  if (socket >= 0) close_copy(socket);
  if (failed == -wall.errors[NETWORK]) {
    wall.denied++;
    report((pid_t)request->pid, request->data.nr, NETWORK, 1, 0, NULL);
  }
  send_answer(request->id, 0, failed, 0);
}

/* With writing closed, no socket may be bound to a path, which would create a file; other addresses create
 * none. */
static int bind_as_caller(const struct seccomp_notif *request, int socket) {
  union {
    struct sockaddr any;
    struct sockaddr_un near;
    struct sockaddr_nl kernel;
    struct sockaddr_storage whole;
  } to = {0};
  uint64_t bytes = request->data.args[2];
  if (bytes < sizeof to.any.sa_family || bytes > sizeof to) return -EINVAL;
  if (read_bytes((pid_t)request->pid, request->data.args[1], &to, bytes)) return -EFAULT;
  int has_path = bytes > offsetof(struct sockaddr_un, sun_path) && to.near.sun_path[0];
  /* Refused: this process may have the right to receive messages that the caller may not. */
  int joins_multicast = to.any.sa_family == AF_NETLINK && to.kernel.nl_groups;
  if (joins_multicast || (to.any.sa_family == AF_UNIX && has_path)) return -wall.errors[WRITE];
  if (!is_request_valid(request->id)) return -ENOENT;
  return bind(socket, &to.any, (socklen_t)bytes) ? -errno : 0;
}

void answer_bind(const struct seccomp_notif *request) {
  int socket = copy_descriptor((pid_t)request->pid, (int)request->data.args[0]);
  int failed = socket < 0 ? socket : bind_as_caller(request, socket);
  if (socket >= 0) close_copy(socket);
  if (failed == -wall.errors[WRITE]) {
    wall.denied++;
    report((pid_t)request->pid, request->data.nr, WRITE, 1, 1, NULL);
  }
  send_answer(request->id, 0, failed, 0);
}

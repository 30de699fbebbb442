/*
 * Brokered connects and binds: made here, on a copy of the address.
 *
 * Problem: with the network closed, processes of a wall may still speak to each other by Unix sockets; with writing closed
 * no socket may create a file. Both depend on an address in memory that another thread may change (TOCTOU).
 *
 * Mechanism: the socket is duplicated and its family read from it; the address is copied. A connect goes to a Unix socket
 * below the wall's own root, or by an abstract name, and never blocks: one that would wait is queued and tried again until
 * it succeeds, fails, or its caller is gone. A bind is made here to any address but a path.
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

enum { WAITING_MAX = 16 };

static struct {
  uint64_t id;
  int socket, place;
  struct sockaddr_un to;
  socklen_t bytes;
} waiting[WAITING_MAX];
int waiting_count;

/* Non-blocking connect: sets O_NONBLOCK for its duration. */
static int connect_now(int socket, const struct sockaddr_un *to, socklen_t bytes, int *would_wait) {
  int flags = fcntl(socket, F_GETFL);
  *would_wait = flags >= 0 && !(flags & O_NONBLOCK);
  if (*would_wait) fcntl(socket, F_SETFL, flags | O_NONBLOCK);
  be_impatient(PATIENCE_US);
  int failed = connect(socket, (const struct sockaddr *)to, bytes) ? -errno : 0;
  be_impatient(0);
  if (*would_wait) fcntl(socket, F_SETFL, flags);
  if (failed != -EINTR) return failed;
  /* The wall removed O_NONBLOCK meanwhile: it would block. */
  *would_wait = 1;
  return -EINTR;
}

static void drop_waiting(int i) {
  close(waiting[i].socket);
  if (waiting[i].place >= 0) close(waiting[i].place);
  waiting[i] = waiting[--waiting_count];
}

void try_waiting(void) {
  for (int i = waiting_count - 1; i >= 0; i--) {
    int would_wait, failed = connect_now(waiting[i].socket, &waiting[i].to, waiting[i].bytes, &would_wait);
    int is_early = failed == -EAGAIN || failed == -EINTR;
    if (!is_early || !still_asks(waiting[i].id)) {
      send_answer(waiting[i].id, 0, is_early ? -EAGAIN : failed, 0);
      drop_waiting(i);
    }
    /* EINTR: the time of this round has run out. */
    if (failed == -EINTR) return;
  }
}

/* With the network closed, only sockets between the wall's own processes work. The duplicated socket
 * (pidfd_getfd) decides the family, the copied address the destination. A path is resolved in the wall's own
 * root. */
static int connect_for(const struct seccomp_notif *asked, int socket, int *is_later) {
  struct sockaddr_un to = {0};
  int domain;
  socklen_t size = sizeof domain;
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != AF_UNIX) return -wall.errors[NETWORK];
  uint64_t bytes = asked->data.args[2];
  if (bytes < offsetof(struct sockaddr_un, sun_path) || bytes > sizeof to) return -EINVAL;
  if (read_bytes((pid_t)asked->pid, asked->data.args[1], &to, bytes)) return -EFAULT;
  if (to.sun_family != AF_UNIX) return -wall.errors[NETWORK];
  int place = -1;
  if (bytes > offsetof(struct sockaddr_un, sun_path) && to.sun_path[0]) {
    char path[sizeof to.sun_path + 1] = "", whole[PATH_BYTES_MAX];
    memcpy(path, to.sun_path, bytes - offsetof(struct sockaddr_un, sun_path));
    int failed = whole_path((pid_t)asked->pid, AT_FDCWD, path, whole, sizeof whole);
    place = failed ? failed : open_below(wall.root, whole, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (place < 0) return place;
    snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d", place);
    bytes = sizeof to;
  }
  int would_wait, failed = still_asks(asked->id) ? connect_now(socket, &to, (socklen_t)bytes, &would_wait) : -ENOENT;
  if (failed == -EINTR) failed = -EAGAIN;
  if (failed == -EAGAIN && would_wait && waiting_count < WAITING_MAX) {
    waiting[waiting_count].id = asked->id;
    waiting[waiting_count].socket = socket;
    waiting[waiting_count].place = place;
    waiting[waiting_count].to = to;
    waiting[waiting_count++].bytes = (socklen_t)bytes;
    *is_later = 1;
    return 0;
  }
  if (place >= 0) close(place);
  return failed;
}

void answer_connect(const struct seccomp_notif *asked) {
  int is_later = 0, socket = copy_descriptor((pid_t)asked->pid, (int)asked->data.args[0]);
  int failed = socket < 0 ? socket : connect_for(asked, socket, &is_later);
  if (is_later) return;
  if (socket >= 0) close(socket);
  if (failed == -wall.errors[NETWORK]) {
    wall.denied++;
    report((pid_t)asked->pid, asked->data.nr, NETWORK, 1, 0, NULL);
  }
  send_answer(asked->id, 0, failed, 0);
}

/* With writing closed, no socket may be bound to a path, which would create a file; other addresses create
 * none. */
static int bind_for(const struct seccomp_notif *asked, int socket) {
  union {
    struct sockaddr any;
    struct sockaddr_un near;
    struct sockaddr_nl kernel;
    struct sockaddr_storage whole;
  } to = {0};
  uint64_t bytes = asked->data.args[2];
  if (bytes < sizeof to.any.sa_family || bytes > sizeof to) return -EINVAL;
  if (read_bytes((pid_t)asked->pid, asked->data.args[1], &to, bytes)) return -EFAULT;
  int is_named = bytes > offsetof(struct sockaddr_un, sun_path) && to.near.sun_path[0];
  /* Not on behalf of a process that may receive more than the caller. */
  int is_wide = to.any.sa_family == AF_NETLINK && to.kernel.nl_groups;
  if (is_wide || (to.any.sa_family == AF_UNIX && is_named)) return -wall.errors[WRITE];
  if (!still_asks(asked->id)) return -ENOENT;
  return bind(socket, &to.any, (socklen_t)bytes) ? -errno : 0;
}

void answer_bind(const struct seccomp_notif *asked) {
  int socket = copy_descriptor((pid_t)asked->pid, (int)asked->data.args[0]);
  int failed = socket < 0 ? socket : bind_for(asked, socket);
  if (socket >= 0) close(socket);
  if (failed == -wall.errors[WRITE]) {
    wall.denied++;
    report((pid_t)asked->pid, asked->data.nr, WRITE, 1, 1, NULL);
  }
  send_answer(asked->id, 0, failed, 0);
}

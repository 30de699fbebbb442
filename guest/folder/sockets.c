/*
 * Connects and binds, performed on behalf of the caller on a duplicate of its socket.
 *
 * Problem. A Unix socket of the host with a path in the folder leads out of the wall: an SSH agent, a container daemon, a
 * database. Network namespaces do not isolate those. The address is in the caller's memory, where another thread can change
 * it (TOCTOU).
 *
 * Mechanism. The address is copied once. A connect by path reaches only sockets on the wall's own file systems; a socket in a
 * bind is refused, even one that the wall created. Other address families are confined by the network namespace: what it refuses
 * is only reported. A connect on a blocking socket is started with O_NONBLOCK and answered when it completes, so that this
 * process never blocks.
 *
 * The kernel keeps the path of a bind as the socket's name, for getsockname(2) and the getpeername(2) of its clients. A bind is
 * therefore made with the caller's own text, under the turn (turn.c): no wall renames a folder or makes a link meanwhile. Below /proc,
 * where the text may lead this process elsewhere, it is made below the descriptor of the judged folder, and has that name.
 *
 * Relies on pidfd_getfd(2), which shares the open socket with the caller. AF_UNIX datagram sockets, which reach a path without
 * connect(2), are refused by the fixed filter.
 *
 * Not handled: another thread that uses the socket while its connect is in progress finds it non-blocking. A program outside of all
 * walls that moves a folder during a bind can have the socket made elsewhere in what the command may write.
 */
#define _GNU_SOURCE
#include "sockets.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "../sentinel/caller.h"
#include "interrupts.h"
#include "judge.h"
#include "lookups.h"
#include "opens.h"
#include "resolve.h"
#include "reports.h"
#include "requests.h"
#include "tunnels.h"
#include "turn.h"

/* LOOK_MS: between two looks for signals of callers. */
enum { RETRY_MS = 5, UNREACHABLE_MAX = 3, LOOK_MS = 100 };

union address {
  struct sockaddr any;
  struct sockaddr_un near;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_storage whole;
};

static struct {
  uint64_t id;
  pid_t pid;
  int socket, flags, is_signalled;
} connects[CONNECTS_MAX];
static int connect_count;

static int family_of(int socket) {
  int domain = -1;
  socklen_t size = sizeof domain;
  return getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) ? -1 : domain;
}

static int has_path(const union address *to, socklen_t bytes) {
  return to->any.sa_family == AF_UNIX && bytes > offsetof(struct sockaddr_un, sun_path) && to->near.sun_path[0];
}

static int read_address(const struct seccomp_notif *request, union address *to, socklen_t *bytes) {
  *bytes = (socklen_t)request->data.args[2];
  if (*bytes < sizeof to->any.sa_family || *bytes > sizeof *to) return -EINVAL;
  memset(to, 0, sizeof *to);
  if (read_bytes((pid_t)request->pid, request->data.args[1], to, *bytes)) return -EFAULT;
  return is_request_valid(request->id) ? 0 : -ENOENT;
}

static void copy_path(const union address *to, socklen_t bytes, char *path) {
  size_t length = bytes - offsetof(struct sockaddr_un, sun_path);
  if (length > sizeof to->near.sun_path) length = sizeof to->near.sun_path;
  memcpy(path, to->near.sun_path, length);
  path[length] = 0;
}

/* ---- connect ---- */

/* Resolves the path in `to`, and replaces it by the /proc/self/fd name of the result. */
static int resolve_socket(const struct seccomp_notif *request, union address *to, socklen_t *bytes, struct target *target) {
  char path[sizeof to->near.sun_path + 1];
  copy_path(to, *bytes, path);
  int failed = resolve_path(request, AT_FDCWD, path, 1, target);
  if (failed) return failed;
  if (S_ISSOCK(target->facts.st_mode) && is_host_file(&target->facts)) {
    static const struct refusal why = {"socket", "a Unix socket of this machine", NULL};
    report_refusal(request, target->path, 0, &why);
    return -EACCES;
  }
  fd_path(target->fd, to->near.sun_path, sizeof to->near.sun_path);
  *bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(to->near.sun_path) + 1);
  return 0;
}

/* Another thread may have made the socket blocking: what would wait then is in progress, or a full backlog. */
static int connect_of_caller(int socket, const union address *to, socklen_t bytes) {
  int failed = connect_at_once(socket, &to->any, bytes);
  if (failed != EINTR) return failed;
  return to->any.sa_family == AF_UNIX ? EAGAIN : EINPROGRESS;
}

static int start_connect(const struct seccomp_notif *request, int socket, const union address *to, socklen_t bytes) {
  int flags = fcntl(socket, F_GETFL), is_blocking = flags >= 0 && !(flags & O_NONBLOCK);
  if (is_blocking) fcntl(socket, F_SETFL, flags | O_NONBLOCK);
  int failed = connect_of_caller(socket, to, bytes);
  /* EAGAIN: the backlog of a Unix socket is full, and poll(2) does not report room in it. Retried for 100 ms. */
  for (int tries = 0; failed == EAGAIN && is_blocking && tries < 20; tries++) {
    poll(NULL, 0, RETRY_MS);
    failed = connect_of_caller(socket, to, bytes);
  }
  /* EALREADY: the same call again, after a signal. */
  if (is_blocking && (failed == EINPROGRESS || failed == EALREADY) && connect_count < CONNECTS_MAX) {
    connects[connect_count].id = request->id;
    connects[connect_count].pid = (pid_t)request->pid;
    connects[connect_count].socket = socket;
    connects[connect_count].is_signalled = 0;
    connects[connect_count++].flags = flags;
    return PENDING;
  }
  if (is_blocking) fcntl(socket, F_SETFL, flags);
  return -failed;
}

static int is_loopback(const union address *to) {
  if (to->any.sa_family == AF_INET) return ntohl(to->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  return IN6_IS_ADDR_LOOPBACK(&to->v6.sin6_addr);
}

/*
 * Reports a connect to another host, which has no route here. Bounded, so that a port scan leaves room for reports of other refusals.
 */
static void report_unreachable(const struct seccomp_notif *request, const union address *to, int failed) {
  static const struct refusal host_refusal = {"network", "no route to other hosts", NULL};
  static const struct refusal name_refusal = {"network", "a name server; no route to other hosts", NULL};
  static int reported;
  char host[INET6_ADDRSTRLEN], place[INET6_ADDRSTRLEN + sizeof "[]:65535"];
  int is_v4 = to->any.sa_family == AF_INET;
  int port = ntohs(is_v4 ? to->v4.sin_port : to->v6.sin6_port);
  if (failed != -ENETUNREACH || is_loopback(to)) return;
  const void *bytes = is_v4 ? (const void *)&to->v4.sin_addr : (const void *)&to->v6.sin6_addr;
  if (reported == UNREACHABLE_MAX || !inet_ntop(to->any.sa_family, bytes, host, sizeof host)) return;
  reported++;
  snprintf(place, sizeof place, is_v4 ? "%s:%d" : "[%s]:%d", host, port);
  report_refusal(request, place, 0, port == NAME_SERVER_PORT ? &name_refusal : &host_refusal);
}

/* Host name that an address stands for, also in the form of IPv6; NULL if for none. */
static const char *name_of(const union address *to, int *port) {
  uint32_t address = 0;
  if (to->any.sa_family == AF_INET) address = to->v4.sin_addr.s_addr;
  else if (to->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&to->v6.sin6_addr))
    memcpy(&address, to->v6.sin6_addr.s6_addr + 12, sizeof address);
  /* The port is at the same place in both families. */
  *port = ntohs(to->v4.sin_port);
  return address ? name_of_address(ntohl(address)) : NULL;
}

static int is_stream(int socket) {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static int connect_to_host(const struct seccomp_notif *request, int socket, const union address *to, socklen_t bytes) {
  int port;
  const char *name = name_of(to, &port);
  if (name && is_stream(socket)) {
    int failed = start_tunnel(request, socket, name, port);
    return failed ? failed : PENDING;
  }
  int failed = start_connect(request, socket, to, bytes);
  if (!failed && port == NAME_SERVER_PORT && is_loopback(to)) note_asker(request, socket);
  report_unreachable(request, to, failed);
  return failed;
}

static int connect_as_caller(const struct seccomp_notif *request, int socket) {
  union address to;
  socklen_t bytes;
  struct target target = {.fd = -1, .parent = -1};
  int failed = read_address(request, &to, &bytes);
  if (!failed && has_path(&to, bytes)) {
    /* The family is read from the duplicate that is connected. Race: another thread may have replaced the descriptor. */
    failed = family_of(socket) == AF_UNIX ? resolve_socket(request, &to, &bytes, &target) : -EINVAL;
  }
  if (!failed) {
    int is_internet = to.any.sa_family == AF_INET || to.any.sa_family == AF_INET6;
    failed = is_internet ? connect_to_host(request, socket, &to, bytes) : start_connect(request, socket, &to, bytes);
  }
  close_target(&target);
  return failed;
}

int poll_connects(struct pollfd *list) {
  for (int i = 0; i < connect_count; i++) list[i] = (struct pollfd){.fd = connects[i].socket, .events = POLLOUT};
  return connect_count + poll_tunnels(list + connect_count);
}

void finish_connects(const struct pollfd *list, int count) {
  static int64_t next_look_ms;
  int own = connect_count, looks = now_ms() >= next_look_ms;
  if (looks) next_look_ms = now_ms() + LOOK_MS;
  go_on_with_tunnels(list + own, count - own, looks);
  for (int i = own - 1; i >= 0; i--) {
    int error = 0;
    socklen_t size = sizeof error;
    int is_done = list[i].revents != 0, is_gone = !is_request_valid(connects[i].id);
    int failed = looks && !is_done ? interruption(connects[i].pid, &connects[i].is_signalled) : 0;
    if (!is_done && !is_gone && !failed) continue;
    if (getsockopt(connects[i].socket, SOL_SOCKET, SO_ERROR, &error, &size)) error = errno;
    fcntl(connects[i].socket, F_SETFL, connects[i].flags);
    send_answer(connects[i].id, 0, failed ? failed : -error);
    close_copy(connects[i].socket);
    connects[i] = connects[--connect_count];
  }
}

/* ---- bind ---- */

/* Makes the entry that was judged. */
static int bind_judged(const struct seccomp_notif *request, int socket, union address *to, socklen_t bytes, const char *path,
                       const struct target *target) {
  umask(umask_of(request));
  if (!enter_base(request, path, target)) {
    char name[sizeof to->near.sun_path + NAME_BYTES];
    int length = snprintf(name, sizeof name, "/proc/self/fd/%d/%s", target->parent, target->name);
    if (length >= (int)sizeof to->near.sun_path) return -ENAMETOOLONG;
    strcpy(to->near.sun_path, name);
    bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length + 1);
  }
  int failed = bind(socket, &to->any, bytes) ? -errno : 0;
  return chdir("/") ? -EACCES : failed;
}

/* A bind to a path creates a file. */
static int bind_path(const struct seccomp_notif *request, int socket, union address *to, socklen_t bytes) {
  char path[sizeof to->near.sun_path + 1];
  struct target target;
  struct refusal why = {0};
  if (!has_turn()) return NEEDS_TURN;
  copy_path(to, bytes, path);
  int failed = resolve_parent(request, AT_FDCWD, path, &target);
  if (failed) return failed == -EEXIST ? -EADDRINUSE : failed;
  failed = -judge(target.path, WRITING | NAMING, &why);
  if (!failed) failed = -judge_creation(target.path, &why);
  if (failed) report_refusal(request, target.path, NAMING, &why);
  else failed = bind_judged(request, socket, to, bytes, path, &target);
  close_target(&target);
  return failed;
}

static int bind_as_caller(const struct seccomp_notif *request, int socket) {
  union address to;
  socklen_t bytes;
  int failed = read_address(request, &to, &bytes);
  if (failed) return failed;
  if (has_path(&to, bytes)) return family_of(socket) == AF_UNIX ? bind_path(request, socket, &to, bytes) : -EINVAL;
  return bind(socket, &to.any, bytes) ? -errno : 0;
}

int answer_socket(const struct seccomp_notif *request) {
  int call = request->data.nr;
  if (call != SYS_connect && call != SYS_bind) return 0;
  int socket = copy_descriptor((pid_t)request->pid, (int)request->data.args[0]);
  int failed = socket;
  if (socket >= 0) failed = call == SYS_connect ? connect_as_caller(request, socket) : bind_as_caller(request, socket);
  if (failed == PENDING) return 1;
  if (socket >= 0) close_copy(socket);
  send_answer(request->id, 0, failed < 0 ? failed : 0);
  return 1;
}

/*
 * Connects and binds, made for the caller on a copy of its socket.
 *
 * Problem. A socket of this machine that has a name in the folder leads out of the wall: an agent with keys, a container
 * daemon, a database. Network namespaces do not hold those, and the address is memory of the caller.
 *
 * Mechanism. The address is copied once. A connect by a path goes to sockets of the wall's own files alone; one in a folder
 * of this machine is refused, whoever made it. All other families stay in the wall's network namespace. A connect of a
 * blocking socket is begun as one that does not block, and answered when it is through.
 *
 * Relies on pidfd_getfd(2), which shares the open socket with the caller. Datagram sockets of AF_UNIX, by which a path is
 * reached without a connect, are refused by the fixed filter.
 *
 * Not handled: a second thread that uses a socket while it is being connected finds it non-blocking.
 */
#define _GNU_SOURCE
#include "sockets.h"
#include <errno.h>
#include <fcntl.h>
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
#include "judge.h"
#include "opens.h"
#include "places.h"
#include "reports.h"
#include "requests.h"

/* `WAITS`: answered later. No errno is as large. */
enum { WAITS = -100000, RETRY_MS = 5 };

union address {
  struct sockaddr any;
  struct sockaddr_un near;
  struct sockaddr_storage whole;
};

static struct {
  uint64_t id;
  int socket, flags;
} connects[CONNECTS_MAX];
static int connect_count;

static int family_of(int socket) {
  int domain = -1;
  socklen_t size = sizeof domain;
  return getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) ? -1 : domain;
}

static int is_named(const union address *to, socklen_t bytes) {
  return to->any.sa_family == AF_UNIX && bytes > offsetof(struct sockaddr_un, sun_path) && to->near.sun_path[0];
}

static int read_address(const struct seccomp_notif *request, union address *to, socklen_t *bytes) {
  *bytes = (socklen_t)request->data.args[2];
  if (*bytes < sizeof to->any.sa_family || *bytes > sizeof *to) return -EINVAL;
  memset(to, 0, sizeof *to);
  if (read_bytes((pid_t)request->pid, request->data.args[1], to, *bytes)) return -EFAULT;
  return still_asks(request->id) ? 0 : -ENOENT;
}

static void path_in(const union address *to, socklen_t bytes, char *path) {
  size_t length = bytes - offsetof(struct sockaddr_un, sun_path);
  if (length > sizeof to->near.sun_path) length = sizeof to->near.sun_path;
  memcpy(path, to->near.sun_path, length);
  path[length] = 0;
}

/* ---- connect ---- */

/* Replaces a path by the name of a descriptor of the socket that it leads to. */
static int find_socket(const struct seccomp_notif *request, union address *to, socklen_t *bytes, struct place *place) {
  char path[sizeof to->near.sun_path + 1];
  path_in(to, *bytes, path);
  int failed = find_place(request, AT_FDCWD, path, 1, place);
  if (failed) return failed;
  if (bind_of(place->path)) {
    static const struct refusal why = {"socket", "a socket in a folder of this machine", NULL};
    refused_at(request, place->path, 0, &why);
    return -EACCES;
  }
  name_of_descriptor(place->fd, to->near.sun_path, sizeof to->near.sun_path);
  *bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(to->near.sun_path) + 1);
  return 0;
}

/* Whether a connect that did not wait is under way. A full queue of AF_UNIX has to be tried again. */
static int is_under_way(int error) {
  return error == EINPROGRESS;
}

static int begin_connect(const struct seccomp_notif *request, int socket, const union address *to, socklen_t bytes) {
  int flags = fcntl(socket, F_GETFL), is_blocking = flags >= 0 && !(flags & O_NONBLOCK);
  if (is_blocking) fcntl(socket, F_SETFL, flags | O_NONBLOCK);
  int failed = connect(socket, &to->any, bytes) ? errno : 0;
  /* A bounded wait, since nothing tells of room in the queue of a local socket. */
  for (int tries = 0; failed == EAGAIN && is_blocking && tries < 20; tries++) {
    poll(NULL, 0, RETRY_MS);
    failed = connect(socket, &to->any, bytes) ? errno : 0;
  }
  if (is_blocking && is_under_way(failed) && connect_count < CONNECTS_MAX) {
    connects[connect_count].id = request->id;
    connects[connect_count].socket = socket;
    connects[connect_count++].flags = flags;
    return WAITS;
  }
  if (is_blocking) fcntl(socket, F_SETFL, flags);
  return -failed;
}

static int connect_for(const struct seccomp_notif *request, int socket) {
  union address to;
  socklen_t bytes;
  struct place place = {.fd = -1, .parent = -1};
  int failed = read_address(request, &to, &bytes);
  if (!failed && is_named(&to, bytes)) {
    /* A socket of another family has no use for a path, and one that was exchanged meanwhile gets none. */
    failed = family_of(socket) == AF_UNIX ? find_socket(request, &to, &bytes, &place) : -EINVAL;
  }
  if (!failed) failed = begin_connect(request, socket, &to, bytes);
  close_place(&place);
  return failed;
}

int add_connects(struct pollfd *list) {
  for (int i = 0; i < connect_count; i++) list[i] = (struct pollfd){.fd = connects[i].socket, .events = POLLOUT};
  return connect_count;
}

void end_connects(const struct pollfd *list, int count) {
  for (int i = count - 1; i >= 0; i--) {
    int error = 0;
    socklen_t size = sizeof error;
    int is_through = list[i].revents != 0, is_gone = !still_asks(connects[i].id);
    if (!is_through && !is_gone) continue;
    if (getsockopt(connects[i].socket, SOL_SOCKET, SO_ERROR, &error, &size)) error = errno;
    fcntl(connects[i].socket, F_SETFL, connects[i].flags);
    send_answer(connects[i].id, 0, -error);
    close(connects[i].socket);
    connects[i] = connects[--connect_count];
  }
}

/* ---- bind ---- */

/* A path makes a file: its folder is judged, and the socket bound below the descriptor of that. */
static int bind_path(const struct seccomp_notif *request, int socket, union address *to, socklen_t bytes) {
  char path[sizeof to->near.sun_path + 1];
  struct place place;
  struct refusal why = {0};
  path_in(to, bytes, path);
  int failed = find_name(request, AT_FDCWD, path, &place);
  if (failed) return failed == -EEXIST ? -EADDRINUSE : failed;
  failed = -judge(place.path, WRITING | NAMING, &why);
  if (failed) refused_at(request, place.path, NAMING, &why);
  char name[sizeof to->near.sun_path + NAME_BYTES];
  int length = snprintf(name, sizeof name, "/proc/self/fd/%d/%s", place.parent, place.name);
  if (!failed && length >= (int)sizeof to->near.sun_path) failed = -ENAMETOOLONG;
  if (!failed) {
    umask(mask_of(request));
    strcpy(to->near.sun_path, name);
    bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length + 1);
    failed = bind(socket, &to->any, bytes) ? -errno : 0;
  }
  close_place(&place);
  return failed;
}

static int bind_for(const struct seccomp_notif *request, int socket) {
  union address to;
  socklen_t bytes;
  int failed = read_address(request, &to, &bytes);
  if (failed) return failed;
  if (is_named(&to, bytes)) return family_of(socket) == AF_UNIX ? bind_path(request, socket, &to, bytes) : -EINVAL;
  return bind(socket, &to.any, bytes) ? -errno : 0;
}

int answer_socket(const struct seccomp_notif *request) {
  int call = request->data.nr;
  if (call != SYS_connect && call != SYS_bind) return 0;
  int socket = copy_descriptor((pid_t)request->pid, (int)request->data.args[0]);
  int failed = socket;
  if (socket >= 0) failed = call == SYS_connect ? connect_for(request, socket) : bind_for(request, socket);
  if (failed == WAITS) return 1;
  if (socket >= 0) close(socket);
  send_answer(request->id, 0, failed < 0 ? failed : 0);
  return 1;
}

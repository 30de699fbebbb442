/*
 * Sockets of a kept wall: streams between its own processes, and to its egress path.
 *
 * Problem: the wall shares the host's network, abstract socket names and file system. Another thread may change an address in
 * memory, or replace the socket of a descriptor (TOCTOU). Landlock restricts TCP ports since Linux 6.7, but no addresses and
 * no Unix sockets with a path.
 *
 * Mechanism: each socket is created here and passed to the caller; this process keeps a duplicate, with its inode. A connect,
 * bind or listen finds it by the inode, and is performed here, on a copy of the address:
 * - TCP connects only to 127.0.0.1:3128, which is redirected to the port of the wall's egress path;
 * - a Unix socket is bound to the caller's own name, below the scratch folder (Landlock of this process, keep.c), and connects
 *   only to sockets there.
 * The duplicate is closed once the socket is connected or listens, so that the peer gets EOF when the wall closes it; that of
 * a connection to the egress path once the server has asked whose it is, so that its port is not free before. The
 * oldest of too many unused sockets is dropped; it can no longer be connected.
 *
 * Relies on: SECCOMP_IOCTL_NOTIF_ADDFD (Linux 5.9), links in /proc/PID/fd; the fixed filter, by which there is no other
 * kind of socket, and of Unix sockets none that sends to an address (datagrams).
 *
 * Not handled: TCP between processes of the wall, datagrams, abstract names. The peer of a connect sees this process
 * (SO_PEERCRED).
 */
#define _GNU_SOURCE
#include "sockets.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "caller.h"
#include "control.h"
#include "give.h"
#include "notify.h"
#include "paths.h"
#include "reports.h"
#include "wall.h"

/* More connections than the server asks about at once (16), lets wait for that (320), and has in its backlog (256). */
enum { SOCKETS_MAX = 128, CONNECTIONS_MAX = 640, INSIDE_PORT = 3128, BACKLOG_MAX = 128 };

/* Sockets that are neither connected nor listen, in a ring. */
static struct {
  int64_t inode;
  int fd, domain;
} unused_sockets[SOCKETS_MAX];
static int next_unused;

/* The latest connections to the egress path, each with a duplicate until the server has asked about it. */
static struct {
  uint16_t port;
  int fd;
  pid_t group;
} connections[CONNECTIONS_MAX];
static int next_connection;

static void forget_socket(int i) {
  if (unused_sockets[i].fd > 0) close_copy(unused_sockets[i].fd);
  unused_sockets[i].fd = 0;
  unused_sockets[i].inode = 0;
}

static void refuse(const struct seccomp_notif *request, int class) {
  wall.denied++;
  report((pid_t)request->pid, request->data.nr, class, 1, class == WRITE, NULL);
  send_answer(request->id, 0, -wall.errors[class], 0);
}

void answer_socket(const struct seccomp_notif *request) {
  int domain = (int)request->data.args[0], type = (int)request->data.args[1];
  if (domain != AF_UNIX && !(wall.allowed & 1 << NETWORK)) return refuse(request, NETWORK);
  /* Repeats the check of the fixed filter, which does not apply to this process. */
  int kind = type & 0xf, is_stream = kind == SOCK_STREAM, is_seqpacket = domain == AF_UNIX && kind == SOCK_SEQPACKET;
  if ((domain != AF_UNIX && domain != AF_INET) || !(is_stream || is_seqpacket)) return send_answer(request->id, 0, -EAFNOSUPPORT, 0);
  struct stat facts;
  int fd = socket(domain, kind | SOCK_CLOEXEC | (type & SOCK_NONBLOCK), 0);
  int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0 || fstat(own, &facts)) {
    if (fd >= 0) close(fd);
    if (own >= 0) close(own);
    return send_answer(request->id, 0, -ENOBUFS, 0);
  }
  int i = next_unused;
  next_unused = (next_unused + 1) % SOCKETS_MAX;
  forget_socket(i);
  unused_sockets[i].inode = (int64_t)facts.st_ino;
  unused_sockets[i].fd = own;
  unused_sockets[i].domain = domain;
  pass_descriptor(request->id, fd, 0, (type & SOCK_CLOEXEC) != 0);
}

/* Index of the caller's socket, or a negative errno. An unknown socket is already connected or listens. */
static int find_socket(const struct seccomp_notif *request) {
  int64_t inode = socket_inode((pid_t)request->pid, (int)request->data.args[0]);
  if (inode < 0) return (int)inode;
  for (int i = 0; i < SOCKETS_MAX; i++)
    if (unused_sockets[i].fd > 0 && unused_sockets[i].inode == inode) return i;
  return -EISCONN;
}

union address {
  struct sockaddr any;
  struct sockaddr_in near;
  struct sockaddr_un file;
};

static int read_address(const struct seccomp_notif *request, union address *to) {
  uint64_t bytes = request->data.args[2];
  memset(to, 0, sizeof *to);
  if (bytes < sizeof to->any.sa_family || bytes > sizeof *to) return -EINVAL;
  if (read_bytes((pid_t)request->pid, request->data.args[1], to, bytes)) return -EFAULT;
  return is_request_valid(request->id) ? (int)bytes : -ENOENT;
}

static void forget_connection(int i) {
  if (connections[i].fd > 0) close_copy(connections[i].fd);
  connections[i].fd = 0;
  connections[i].port = 0;
}

/* Each connection is asked about once; then its port may become one of another process of this machine. So may the port of
 * a connection that was reset: it has no peer any more. */
int caller_of_port(uint16_t port) {
  pid_t group = 0;
  for (int i = 0; port && i < CONNECTIONS_MAX; i++) {
    if (connections[i].port != port) continue;
    struct sockaddr_in peer;
    socklen_t bytes = sizeof peer;
    if (!getpeername(connections[i].fd, (struct sockaddr *)&peer, &bytes)) group = connections[i].group;
    forget_connection(i);
  }
  return group;
}

/* Without a duplicate the connection stays unknown, and is cut. */
static void remember_connection(int socket, pid_t group) {
  struct sockaddr_in own = {0};
  socklen_t bytes = sizeof own;
  int held = getsockname(socket, (struct sockaddr *)&own, &bytes) ? -1 : fcntl(socket, F_DUPFD_CLOEXEC, 0);
  if (held < 0) return;
  caller_of_port(ntohs(own.sin_port));
  forget_connection(next_connection);
  connections[next_connection].port = ntohs(own.sin_port);
  connections[next_connection].fd = held;
  connections[next_connection].group = group;
  next_connection = (next_connection + 1) % CONNECTIONS_MAX;
}

/* Addresses of the host are not part of the wall's network: errors are those of an empty network namespace. */
static int connect_tcp(const struct seccomp_notif *request, int socket, const union address *to) {
  if (to->any.sa_family != AF_INET) return -EAFNOSUPPORT;
  uint32_t address = ntohl(to->near.sin_addr.s_addr);
  if (address >> 24 != 127) return -ENETUNREACH;
  if (address != INADDR_LOOPBACK || ntohs(to->near.sin_port) != INSIDE_PORT || !wall.egress_port) return -ECONNREFUSED;
  struct sockaddr_in egress = {.sin_family = AF_INET, .sin_port = htons(wall.egress_port)};
  egress.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  /* Completes at once if the backlog has room; otherwise the interrupt timer ends it. */
  set_interrupt_timer(BLOCK_US_MAX);
  int failed = connect(socket, (struct sockaddr *)&egress, sizeof egress) ? -errno : 0;
  set_interrupt_timer(0);
  if (failed == -EINTR) failed = -ETIMEDOUT;
  if (failed == 0 || failed == -EINPROGRESS)
    remember_connection(socket, (pid_t)status_of((pid_t)request->pid, "\nTgid:", 10, 0));
  return failed;
}

/* Copies the path of a Unix socket, NUL-terminated; returns 0 if the address has no path. */
static int path_of(const union address *at, int bytes, char to[sizeof at->file.sun_path + 1]) {
  int length = bytes - (int)offsetof(struct sockaddr_un, sun_path);
  if (length <= 0 || !at->file.sun_path[0]) return 0;
  memcpy(to, at->file.sun_path, (size_t)length);
  to[length] = 0;
  return 1;
}

static int connect_file(const struct seccomp_notif *request, int socket, const union address *to, int bytes) {
  char path[sizeof to->file.sun_path + 1], whole[PATH_BYTES_MAX];
  struct stat facts;
  if (to->any.sa_family != AF_UNIX) return -EINVAL;
  if (!path_of(to, bytes, path)) return -ECONNREFUSED;
  int failed = absolute_path((pid_t)request->pid, AT_FDCWD, path, whole, sizeof whole);
  int path_fd = failed ? failed : open_below(wall.root, whole, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
  if (path_fd < 0) return path_fd;
  if (!is_below_scratch_path(path_fd) || fstat(path_fd, &facts) || !S_ISSOCK(facts.st_mode)) {
    close(path_fd);
    return -ECONNREFUSED;
  }
  struct sockaddr_un there = {.sun_family = AF_UNIX};
  snprintf(there.sun_path, sizeof there.sun_path, "/proc/self/fd/%d", path_fd);
  set_interrupt_timer(BLOCK_US_MAX);
  failed = connect(socket, (struct sockaddr *)&there, sizeof there) ? -errno : 0;
  set_interrupt_timer(0);
  close(path_fd);
  /* The backlog is full: the caller gets EAGAIN, as on a non-blocking socket. */
  return failed == -EINTR ? -EAGAIN : failed;
}

void answer_kept_connect(const struct seccomp_notif *request) {
  union address to;
  int i = find_socket(request);
  if (i < 0) return send_answer(request->id, 0, i, 0);
  if (unused_sockets[i].domain == AF_INET && !(wall.allowed & 1 << NETWORK)) return refuse(request, NETWORK);
  int bytes = read_address(request, &to);
  int failed = bytes < 0                      ? bytes
               : unused_sockets[i].domain == AF_INET ? connect_tcp(request, unused_sockets[i].fd, &to)
                                              : connect_file(request, unused_sockets[i].fd, &to, bytes);
  if (failed == 0 || failed == -EINPROGRESS) forget_socket(i);
  send_answer(request->id, 0, failed, 0);
}

/*
 * Binds to the caller's own name, which getsockname(2) then answers, with the caller's umask. Landlock lets this process
 * create sockets below the scratch folder alone (keep.c), whatever the path leads to by then.
 */
static int bind_file(const struct seccomp_notif *request, int socket, const union address *to, int bytes) {
  char path[sizeof to->file.sun_path + 1], whole[PATH_BYTES_MAX], folder[32];
  pid_t pid = (pid_t)request->pid;
  if (!path_of(to, bytes, path)) return -EACCES;
  int failed = absolute_path(pid, AT_FDCWD, path, whole, sizeof whole);
  if (failed) return failed;
  const char *name = *path == '/' ? whole : path;
  struct sockaddr_un there = {.sun_family = AF_UNIX};
  size_t length = strlen(name);
  if (length > sizeof there.sun_path) return -ENAMETOOLONG;
  memcpy(there.sun_path, name, length);
  snprintf(folder, sizeof folder, "/proc/%d/cwd", pid);
  if (*path != '/' && chdir(folder)) return -errno;
  umask((mode_t)status_of(pid, "\nUmask:", 8, 0) & 0777);
  if (!is_request_valid(request->id)) failed = -ENOENT;
  else if (bind(socket, (struct sockaddr *)&there, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length))) failed = -errno;
  if (chdir("/")) failed = failed ? failed : -errno;
  return failed;
}

void answer_kept_bind(const struct seccomp_notif *request) {
  union address to;
  int i = find_socket(request);
  if (i < 0) return send_answer(request->id, 0, i == -EISCONN ? -EINVAL : i, 0);
  if (!(wall.allowed & 1 << WRITE)) return refuse(request, WRITE);
  int bytes = read_address(request, &to);
  int is_file = unused_sockets[i].domain == AF_UNIX && bytes >= 0 && to.any.sa_family == AF_UNIX;
  send_answer(request->id, 0, bytes < 0 ? bytes : is_file ? bind_file(request, unused_sockets[i].fd, &to, bytes) : -EACCES, 0);
}

void answer_listen(const struct seccomp_notif *request) {
  int i = find_socket(request), backlog = (int)request->data.args[1];
  if (i < 0) return send_answer(request->id, 0, i == -EISCONN ? -EINVAL : i, 0);
  if (unused_sockets[i].domain != AF_UNIX) return send_answer(request->id, 0, -EACCES, 0);
  int failed = listen(unused_sockets[i].fd, backlog < 0 || backlog > BACKLOG_MAX ? BACKLOG_MAX : backlog) ? -errno : 0;
  if (!failed) forget_socket(i);
  send_answer(request->id, 0, failed, 0);
}

/* Sets the port of the egress path on the host's loopback; at most once. */
int set_egress_port(const uint8_t *at, size_t bytes) {
  if (bytes != 2 || !wall.is_kept || wall.egress_port) return 0;
  wall.egress_port = (uint16_t)(at[0] | at[1] << 8);
  return wall.egress_port != 0;
}

/*
 * Connects to host names, through the egress proxy.
 *
 * Problem. Programs reach an allowed host by the proxy only, and many do not read proxy variables: Node before 22.21 (fetch, http),
 * database clients, ssh.
 *
 * Mechanism. A connect to an address that stands for a name (lookups.c) goes to the proxy instead, and this process requests a
 * tunnel (CONNECT, RFC 9110) on the duplicate of the caller's socket. It reads the head of the reply and not a byte more, and then
 * answers the connect. The proxy decides by the name.
 *
 * Not handled: getpeername(2) gives the proxy's address. A connect of a non-blocking socket returns when the tunnel is open, not
 * before.
 */
#define _GNU_SOURCE
#include "tunnels.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../sentinel/caller.h"
#include "folder.h"
#include "interrupts.h"
#include "lookups.h"
#include "requests.h"

enum { HEAD_BYTES_MAX = 4096, REQUEST_BYTES = 2 * HOST_NAME_BYTES + 64 };

static struct tunnel {
  uint64_t id;
  pid_t pid;
  int socket, flags, port, is_requested, is_signalled;
  char name[HOST_NAME_BYTES], head[HEAD_BYTES_MAX];
  size_t have;
} tunnels[TUNNELS_MAX];
static int tunnel_count;

static int connect_to_proxy(int socket) {
  int domain = AF_INET;
  socklen_t size = sizeof domain;
  in_port_t port = htons((uint16_t)options.egress_port);
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  /* A socket of IPv6 connects to IPv4 addresses by their mapped form. */
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
  memcpy(v6.sin6_addr.s6_addr + 10, "\xff\xff\x7f\0\0\1", 6);
  getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  int failed = domain == AF_INET6 ? connect_at_once(socket, (struct sockaddr *)&v6, sizeof v6)
                                  : connect_at_once(socket, (struct sockaddr *)&v4, sizeof v4);
  return failed == EINPROGRESS || failed == EINTR ? 0 : -failed;
}

int start_tunnel(const struct seccomp_notif *request, int socket, const char *name, int port) {
  if (tunnel_count == TUNNELS_MAX) return -EAGAIN;
  int flags = fcntl(socket, F_GETFL);
  fcntl(socket, F_SETFL, flags | O_NONBLOCK);
  int failed = connect_to_proxy(socket);
  if (failed) {
    fcntl(socket, F_SETFL, flags);
    return failed;
  }
  struct tunnel *one = &tunnels[tunnel_count++];
  *one = (struct tunnel){.id = request->id, .pid = (pid_t)request->pid, .socket = socket, .flags = flags, .port = port};
  strcpy(one->name, name);
  return 0;
}

int poll_tunnels(struct pollfd *list) {
  for (int i = 0; i < tunnel_count; i++)
    list[i] = (struct pollfd){.fd = tunnels[i].socket, .events = tunnels[i].is_requested ? POLLIN : POLLOUT};
  return tunnel_count;
}

/* EINPROGRESS: the tunnel is not open yet. */
static int request_tunnel(struct tunnel *one) {
  char text[REQUEST_BYTES];
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(one->socket, SOL_SOCKET, SO_ERROR, &error, &size) || error) return error ? error : errno;
  int length = snprintf(text, sizeof text, "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n", one->name, one->port, one->name, one->port);
  if (send(one->socket, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) != length) return ECONNREFUSED;
  one->is_requested = 1;
  return EINPROGRESS;
}

/* 0 for an open tunnel. A refusal is EACCES, which programs do not retry; a host that does not answer is ECONNREFUSED. */
static int status_of_reply(const char *head) {
  const char *status = strchr(head, ' ');
  if (!status) return ECONNREFUSED;
  return !strncmp(status, " 200", 4) ? 0 : !strncmp(status, " 403", 4) ? EACCES : ECONNREFUSED;
}

static int read_reply(struct tunnel *one) {
  size_t room = sizeof one->head - 1 - one->have;
  ssize_t seen = recv(one->socket, one->head + one->have, room, MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0 && errno == EAGAIN) return EINPROGRESS;
  if (seen <= 0) return ECONNREFUSED;
  one->head[one->have + (size_t)seen] = 0;
  const char *end = strstr(one->head, "\r\n\r\n");
  size_t taken = end ? (size_t)(end + 4 - one->head) - one->have : (size_t)seen;
  if (recv(one->socket, one->head + one->have, taken, MSG_DONTWAIT) != (ssize_t)taken) return ECONNREFUSED;
  one->have += taken;
  one->head[one->have] = 0;
  if (end) return status_of_reply(one->head);
  return one->have == sizeof one->head - 1 ? ECONNREFUSED : EINPROGRESS;
}

static void finish(int at, int error) {
  static const struct sockaddr none = {.sa_family = AF_UNSPEC};
  struct tunnel *one = &tunnels[at];
  /* Dissolves the connection, so that the socket can connect elsewhere. */
  if (error) connect(one->socket, &none, sizeof none);
  fcntl(one->socket, F_SETFL, one->flags);
  send_answer(one->id, 0, -error);
  close_copy(one->socket);
  *one = tunnels[--tunnel_count];
}

void go_on_with_tunnels(const struct pollfd *list, int count, int looks) {
  for (int i = count - 1; i >= 0; i--) {
    struct tunnel *one = &tunnels[i];
    int error = EINPROGRESS, signalled = looks && !list[i].revents ? interruption(one->pid, &one->is_signalled) : 0;
    if (list[i].revents) error = one->is_requested ? read_reply(one) : request_tunnel(one);
    else if (!is_request_valid(one->id)) error = EINTR;
    else if (signalled) error = -signalled;
    if (error != EINPROGRESS) finish(i, error);
  }
}

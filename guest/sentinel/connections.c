/*
 * Finds the socket of the wall that opened a connection, by the ports.
 *
 * Problem: the egress proxy needs the process behind a connection. The table of sockets belongs to the wall's network
 * namespace, which this process is not in.
 *
 * Mechanism: a netlink socket opened in that namespace is handed over with the listener, and its type is checked. Each query
 * is for exactly one connection; reading the whole table takes milliseconds. The result is the socket's inode, which the
 * warden searches for among the descriptors of the wall's processes.
 *
 * Relies on: sock_diag(7) (Linux 3.3) and NETLINK_SOCK_DIAG; netlink(7), where a socket stays in the namespace it was
 * opened in.
 *
 * Not handled: a connection that is closed already. Its inode is 0.
 */
#define _GNU_SOURCE
#include "connections.h"
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include "control.h"
#include "lines.h"
#include "sockets.h"
#include "wall.h"

/* Accepts only a sock_diag socket: the peer is untrusted. */
int is_sock_diag(int fd) {
  int domain = 0, protocol = 0;
  socklen_t bytes = sizeof domain, more = sizeof protocol;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) || getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &more)) return 0;
  return domain == AF_NETLINK && protocol == NETLINK_SOCK_DIAG;
}

/* Socket inode of a TCP connection; 0 if unknown. Queries exactly one by sock_diag: reading the whole table
 * takes milliseconds. For an unknown connection the kernel returns the listener, which is not the caller's. */
static uint32_t socket_of(uint32_t from, uint16_t local, uint16_t remote) {
  static char answer[4096] __attribute__((aligned(8)));
  struct {
    struct nlmsghdr head;
    struct inet_diag_req_v2 request;
  } message = {
      .head = {.nlmsg_len = sizeof message, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
      .request = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u},
  };
  struct inet_diag_sockid *id = &message.request.id;
  id->idiag_sport = htons(local);
  id->idiag_dport = htons(remote);
  id->idiag_src[0] = from;
  id->idiag_dst[0] = htonl(INADDR_LOOPBACK);
  id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (wall.sockets < 0) return 0;
  if (send(wall.sockets, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof message) return 0;
  ssize_t n = recv(wall.sockets, answer, sizeof answer, MSG_DONTWAIT);
  struct nlmsghdr *head = (struct nlmsghdr *)answer;
  if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY) return 0;
  const struct inet_diag_msg *found = NLMSG_DATA(head);
  /* An IPv6 socket with an IPv4 peer has the same addresses, v4-mapped. */
  int at = found->idiag_family == AF_INET6 ? 3 : 0;
  int is_it = found->id.idiag_sport == id->idiag_sport && found->id.idiag_dport == id->idiag_dport &&
              found->id.idiag_src[at] == id->idiag_src[0] && found->id.idiag_dst[at] == id->idiag_dst[0];
  return is_it ? found->idiag_inode : 0;
}

int look_up_socket(const uint8_t *at, size_t bytes) {
  if (bytes != 12) return 0;
  uint32_t ports = u32_at(at + 4), from;
  memcpy(&from, at + 8, sizeof from);
  /* A keeper made the connection itself, from 127.0.0.1, and knows its caller; the wall shares the host's ports. Any process
   * of the host may have the same port on another address of the loopback. */
  if (wall.is_kept) {
    int caller = from == htonl(INADDR_LOOPBACK) ? caller_of_port((uint16_t)(ports & 0xffff)) : 0;
    SEND_LINE("{\"kind\":\"socket\",\"nonce\":%u,\"inode\":0,\"caller\":%d}\n", u32_at(at), caller);
    return 1;
  }
  SEND_LINE("{\"kind\":\"socket\",\"nonce\":%u,\"inode\":%u}\n", u32_at(at),
      socket_of(from, (uint16_t)(ports & 0xffff), (uint16_t)(ports >> 16)));
  return 1;
}

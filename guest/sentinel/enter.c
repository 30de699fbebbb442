/*
 * Inside the wall, after the masks (masks.c): loads both filters, hands over the listener, execs the program.
 *
 * Problem: a thread can load a seccomp filter only for itself, and the filter must be in force before the first instruction
 * of user code.
 *
 * Mechanism: two filters come length-prefixed on a descriptor. The first notifies the sentinel (SECCOMP_RET_USER_NOTIF);
 * the second allows or refuses by itself and is loaded last, after the listener was handed over. The sentinel outside
 * copies the listener by pidfd_getfd(2); this process sends only its number, and that of a netlink socket of this network
 * namespace, which looks up connections. Both sides acknowledge the handover by a byte; failures are written to the
 * readiness pipe of the warden. The listening socket of the wall's egress path is opened before the filters, which refuse
 * listen(2).
 *
 * Relies on: seccomp(2), SECCOMP_FILTER_FLAG_NEW_LISTENER (Linux 5.0) and, where the kernel has it,
 * SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19), with which only fatal signals interrupt a received request;
 * PR_SET_NO_NEW_PRIVS in prctl(2).
 *
 * Not handled: threads. There is only one at this point.
 */
#define _GNU_SOURCE
#include "enter.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "masks.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

enum { READY_FD = 4, FILTER_FD = 6, HAND_OVER_FD = 8, FILTER_BYTES_MAX = 65536, BACKLOG = 64 };

_Noreturn void cannot(const char *what) {
  char text[200];
  int n = snprintf(text, sizeof text, "Esentinel: %s: %s", what, strerror(errno));
  if (n > 0 && write(READY_FD, text, (size_t)n) < 0) _exit(2);
  _exit(1);
}

int load_filter(unsigned long flags, const unsigned char *code, uint32_t bytes) {
  struct sock_fprog program = {
      .len = (unsigned short)(bytes / sizeof(struct sock_filter)),
      .filter = (struct sock_filter *)(uintptr_t)code,
  };
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int load_notify_filter(const unsigned char *code, uint32_t bytes) {
  unsigned long listens = SECCOMP_FILTER_FLAG_NEW_LISTENER;
  int fd = load_filter(listens | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, code, bytes);
  return fd < 0 && errno == EINVAL ? load_filter(listens, code, bytes) : fd;
}

/* Two length-prefixed filters: the first notifies the sentinel (SECCOMP_RET_USER_NOTIF), the second allows or refuses. */
static uint32_t take_filter(unsigned char **at, const unsigned char *end) {
  uint32_t bytes;
  if (end - *at < 4) cannot("no filter");
  memcpy(&bytes, *at, 4);
  *at += 4;
  if (bytes > (size_t)(end - *at) || bytes % sizeof(struct sock_filter)) cannot("half a filter");
  return bytes;
}

/* Executes `listen 2 PORT FD` on the loopback of this network namespace; returns the arguments after it. */
static char **listen_inside(char **argv) {
  if (!*argv || strcmp(*argv, "listen")) return argv;
  errno = EINVAL;
  if (!argv[1] || strcmp(argv[1], "2") || !argv[2] || !argv[3]) cannot("listen");
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0 || bind(server, (struct sockaddr *)&at, sizeof at) || listen(server, BACKLOG)) cannot("listen");
  if (dup2(server, atoi(argv[3])) < 0) cannot("listen");
  return argv + 4;
}

/* Sends the listener by SCM_RIGHTS, for a parent that may not copy it (Docker's default seccomp profile allows pidfd_getfd
 * only with CAP_SYS_PTRACE). The filter is already in force; it allows sendmsg(2) without a notification. */
static int send_descriptor(int listener) {
  union {
    char bytes[CMSG_SPACE(sizeof listener)];
    struct cmsghdr align;
  } ancillary = {{0}};
  char byte = 'L';
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof listener);
  memcpy(CMSG_DATA(head), &listener, sizeof listener);
  return sendmsg(HAND_OVER_FD, &message, MSG_NOSIGNAL) == 1;
}

static int send_numbers(int32_t listener, int32_t sockets) {
  int32_t handed[] = {listener, sockets};
  return write(HAND_OVER_FD, handed, sizeof handed) == sizeof handed;
}

void hand_over(unsigned char *filters, size_t bytes, int by_rights) {
  unsigned char *at = filters, *end = filters + bytes;
  uint32_t notify_bytes = take_filter(&at, end);
  unsigned char *notify_filter = at;
  at += notify_bytes;
  uint32_t fixed_bytes = take_filter(&at, end);

  char byte;
  if (read(HAND_OVER_FD, &byte, 1) != 1) cannot("nobody to hand over to");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) cannot("no_new_privs");
  /* Netlink socket that lists sockets of this network namespace only; optional. */
  int32_t sockets = by_rights ? -1 : socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  int32_t listener = load_notify_filter(notify_filter, notify_bytes);
  if (listener < 0) cannot("load the filter");
  if (!(by_rights ? send_descriptor(listener) : send_numbers(listener, sockets))) cannot("hand over");
  if (read(HAND_OVER_FD, &byte, 1) != 1) cannot("the sentinel may not look into this wall");
  close(listener);
  if (sockets >= 0) close(sockets);
  close(HAND_OVER_FD);
  if (fixed_bytes > 0 && load_filter(0, at, fixed_bytes)) cannot("load the fixed filter");
}

size_t read_filters(unsigned char **to) {
  static unsigned char filters[FILTER_BYTES_MAX] __attribute__((aligned(8)));
  size_t have = 0;
  *to = filters;
  for (ssize_t n; have < sizeof filters; have += (size_t)n) {
    n = read(FILTER_FD, filters + have, sizeof filters - have);
    if (n < 0 && errno == EINTR) n = 0;
    else if (n < 0) cannot("read the filters");
    else if (n == 0) break;
  }
  close(FILTER_FD);
  return have;
}

_Noreturn void enter(char **argv) {
  argv = listen_inside(mask(argv));
  errno = EINVAL;
  if (!argv[0] || !argv[1]) cannot("no program");
  unsigned char *filters;
  size_t bytes = read_filters(&filters);
  hand_over(filters, bytes, 0);
  execv(argv[0], argv + 1);
  cannot("become the program");
}

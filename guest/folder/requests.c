/*
 * Seccomp user notifications, received one at a time; each call is performed here on behalf of its caller.
 *
 * No notification is answered with SECCOMP_USER_NOTIF_FLAG_CONTINUE: the kernel would read the arguments again from memory
 * that the guest can change (TOCTOU, see seccomp_unotify(2)). A call without a handler fails with EPERM.
 */
#define _GNU_SOURCE
#include "requests.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "../sentinel/wall.h"
#include "names.h"
#include "opens.h"
#include "sockets.h"
#include "turn.h"

#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

/* The call that was received last needs the turn of this wall. */
static int is_deferred;

void send_answer(uint64_t id, int64_t value, int error) {
  if (error == NEEDS_TURN) {
    is_deferred = 1;
    return;
  }
  struct seccomp_notif_resp answer = {.id = id, .val = value, .error = error};
  /* Fails with ENOENT if the caller was killed or already answered. */
  ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

void send_descriptor(uint64_t id, int fd, uint64_t flags) {
  struct seccomp_notif_addfd given = {
      .id = id,
      .flags = SECCOMP_ADDFD_FLAG_SEND,
      .srcfd = (uint32_t)fd,
      .newfd_flags = flags & O_CLOEXEC ? O_CLOEXEC : 0,
  };
  int number;
  do number = ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_ADDFD, &given);
  while (number < 0 && errno == EINTR);
  if (number < 0 && errno != ENOENT && errno != EINPROGRESS) send_answer(id, 0, errno == EMFILE ? -EMFILE : -EACCES);
}

/* Allocates by SECCOMP_GET_NOTIF_SIZES: the running kernel's structure may be larger than the header's. */
static struct seccomp_notif *receive(void) {
  static struct seccomp_notif *request;
  static size_t bytes;
  if (!request) {
    struct seccomp_notif_sizes sizes = {0};
    must(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0, "notifications");
    bytes = sizes.seccomp_notif > sizeof *request ? sizes.seccomp_notif : sizeof *request;
    must((request = malloc(bytes)) != NULL, "notifications");
  }
  memset(request, 0, bytes);
  return ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_RECV, request) ? NULL : request;
}

static void answer(const struct seccomp_notif *request) {
  if (is_open(request->data.nr)) answer_open(request);
  else if (!answer_name(request) && !answer_socket(request)) send_answer(request->id, 0, -EPERM);
}

void answer_next(void) {
  const struct seccomp_notif *request = receive();
  if (!request) return;
  answer(request);
  if (!is_deferred) return;
  is_deferred = 0;
  int failed = take_turn();
  if (failed) return send_answer(request->id, 0, failed);
  answer(request);
  end_turn();
}

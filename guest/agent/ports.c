/*
 * Problem: each kind of machine has a different channel to its host: a virtio port under QEMU, a serial line under a user-mode kernel,
 * a vsock under Firecracker, whose connections a snapshot closes.
 *
 * Mechanism: the form of the name selects the kind. Vsock ports are below 1024, which only root can bind.
 *
 * Relies on /sys and /dev being mounted. Not handled: a port whose host is not connected yet; see channel.c and boot.c.
 */
#define _GNU_SOURCE
#include "ports.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

enum { PORTS_MAX = 32, NAME_BYTES_MAX = 63, VSOCK_LAST = 1023, BACKLOG = 4 };
static const char vsock[] = "vsock:";

/* Opens a serial line in raw mode: no echo, no signal characters, no line buffering. */
static int open_line(const char *path) {
  struct termios line;
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 || tcgetattr(fd, &line) < 0) return -1;
  cfmakeraw(&line);
  line.c_cflag |= CLOCAL | CREAD;
  return tcsetattr(fd, TCSANOW, &line) < 0 ? -1 : fd;
}

static int has_name(const char *path, const char *name) {
  char text[NAME_BYTES_MAX + 2];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n > 0 && text[n - 1] == '\n') n--;
  return n > 0 && (size_t)n == strlen(name) && !memcmp(text, name, (size_t)n);
}

/* Tries the ports of the first virtio console by number, because their names appear some time after the device. */
static int open_virtio_port(const char *name) {
  char path[96];
  for (int i = 0; i < PORTS_MAX; i++) {
    snprintf(path, sizeof path, "/sys/class/virtio-ports/vport%dp%d/name", i / 8, i % 8);
    if (!has_name(path, name)) continue;
    snprintf(path, sizeof path, "/dev/vport%dp%d", i / 8, i % 8);
    return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  }
  errno = ENODEV;
  return -1;
}

static int listen_at(const char *number) {
  char *end;
  unsigned long port = strtoul(number, &end, 10);
  if (end == number || *end || port < 1 || port > VSOCK_LAST) {
    errno = EINVAL;
    return -1;
  }
  const struct sockaddr_vm at = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = (unsigned)port};
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 && listen(fd, BACKLOG) == 0) return fd;
  close(fd);
  return -1;
}

int is_vsock(const char *name) { return !strncmp(name, vsock, sizeof vsock - 1); }

int open_port(const char *name) {
  if (name[0] == '/') return open_line(name);
  return is_vsock(name) ? listen_at(name + sizeof vsock - 1) : open_virtio_port(name);
}

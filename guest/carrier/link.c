/*
 * Frames of the carrier's channel. Both buffers have a fixed size: nothing is read while they are full. A protocol violation ends the
 * carrier, and its guest with it.
 *
 * The channel may be a listening socket: a machine is saved before it has a server, and a snapshot closes every connection. A
 * connection that ends before its first byte is dropped, and the next one is accepted; the first byte closes the listening socket.
 */
#define _GNU_SOURCE
#include "link.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

enum { FRAME_BYTES_MAX = 4 + 1 + 4 + DATA_BYTES_MAX, OUT_BYTES_MAX = 4 * FRAME_BYTES_MAX, RESERVED = FRAME_BYTES_MAX };
enum { BAD_FRAME = 65, CHANNEL_GONE = 66 };

static int channel = -1, listener = -1;
static uint8_t out[OUT_BYTES_MAX], in[FRAME_BYTES_MAX];
static size_t out_at, out_end, in_have;

static void put_number(uint8_t *to, uint32_t value) {
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> 8 * i);
}

uint32_t number_at(const uint8_t *from) {
  return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static int is_listening(int fd) {
  int on = 0;
  socklen_t length = sizeof on;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) == 0 && on;
}

int open_link(int fd) {
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) return 0;
  if (is_listening(fd)) listener = fd;
  else channel = fd;
  return 1;
}

int awaits_server(void) { return listener >= 0; }

static void take_server(void) {
  struct sockaddr_vm peer = {0};
  socklen_t length = sizeof peer;
  int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0 && peer.svm_family == AF_VSOCK && peer.svm_cid != VMADDR_CID_HOST) close(fd);
  else channel = fd;
}

static void lose_server(void) {
  if (!awaits_server()) _exit(CHANNEL_GONE);
  close(channel);
  channel = -1;
}

int has_room(void) { return OUT_BYTES_MAX - (out_end - out_at) >= FRAME_BYTES_MAX + RESERVED; }

void flush_channel(void) {
  if (awaits_server()) return;
  while (out_at < out_end) {
    ssize_t n = write(channel, out + out_at, out_end - out_at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) _exit(CHANNEL_GONE);
    out_at += (size_t)n;
  }
  out_at = out_end = 0;
}

static uint8_t *reserve(uint8_t kind, size_t payload) {
  size_t bytes = HEADER_BYTES + payload;
  if (OUT_BYTES_MAX - out_end < bytes) {
    memmove(out, out + out_at, out_end - out_at);
    out_end -= out_at;
    out_at = 0;
  }
  if (OUT_BYTES_MAX - out_end < bytes) _exit(BAD_FRAME);
  uint8_t *to = out + out_end;
  out_end += bytes;
  put_number(to, (uint32_t)payload + 1);
  to[4] = kind;
  return to + HEADER_BYTES;
}

void send_frame(uint8_t kind) { reserve(kind, 0); }

void send_about(uint8_t kind, uint32_t stream) { put_number(reserve(kind, 4), stream); }

void send_credit(uint32_t stream, uint32_t bytes) {
  uint8_t *to = reserve(CREDIT, 8);
  put_number(to, stream);
  put_number(to + 4, bytes);
}

void send_data(uint32_t stream, const void *bytes, size_t length) {
  uint8_t *to = reserve(DATA, 4 + length);
  put_number(to, stream);
  memcpy(to + 4, bytes, length);
}

/* Reports bytes read from a line: its kernel buffer has 4,096 bytes, and a throttled driver may not resume. */
static void report_read(size_t bytes) {
  static int is_line = -1;
  if (is_line < 0) is_line = isatty(channel);
  if (is_line) put_number(reserve(READ, 4), (uint32_t)bytes);
}

struct pollfd poll_channel(void) {
  if (channel < 0) return (struct pollfd){.fd = listener, .events = POLLIN};
  int writes = out_end > out_at && !awaits_server();
  return (struct pollfd){.fd = channel, .events = (short)((has_room() ? POLLIN : 0) | (writes ? POLLOUT : 0))};
}

static void read_channel(void (*take)(uint8_t kind, const uint8_t *payload, size_t length)) {
  ssize_t n = read(channel, in + in_have, sizeof in - in_have);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return lose_server();
  report_read((size_t)n);
  if (awaits_server()) close(listener);
  listener = -1;
  in_have += (size_t)n;
  size_t at = 0;
  while (in_have - at >= HEADER_BYTES) {
    uint32_t length = number_at(in + at);
    if (length < 1 || length > FRAME_BYTES_MAX - 4) _exit(BAD_FRAME);
    if (in_have - at < 4 + (size_t)length) break;
    take(in[at + 4], in + at + HEADER_BYTES, length - 1);
    at += 4 + (size_t)length;
  }
  memmove(in, in + at, in_have - at);
  in_have -= at;
}

void serve_channel(short events, void (*take)(uint8_t kind, const uint8_t *payload, size_t length)) {
  if (channel < 0 && events & POLLIN) return take_server();
  if (events & POLLIN) return read_channel(take);
  if (events & (POLLHUP | POLLERR | POLLNVAL)) lose_server();
}

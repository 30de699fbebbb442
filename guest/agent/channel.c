/*
 * Problem: the agent executes the commands that arrive here, and the host may be faulty. No input may make it crash, hang or
 * allocate.
 *
 * Mechanism: one buffer of fixed size per direction, made before the first frame. A length is checked against the maximum of its kind
 * as soon as five bytes have arrived; a field, against the rest of its frame. The first violation ends the connection with a code.
 * While the host does not read, its frames are not read either (back-pressure).
 *
 * A snapshot of a machine closes every connection of its vsock, and keeps listening sockets. So the channel may be a listening
 * socket: before the claim, an agent that lost its host keeps its programs running, accepts the next host and sends it `hello`.
 * At most one host is connected. The claim closes the listening socket: when that host is gone, the agent ends.
 *
 * Not handled: frames that were in flight when a host was lost; authenticity, since only the host can open the channel.
 */
#define _GNU_SOURCE
#include "channel.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>
#include "programs.h"

enum {
  OUT_BYTES = 2 * ANSWER_BYTES_MAX + 65536,
  /* Thresholds: output is stopped first, then answers; the rest is reserved for events of programs, whose number is bounded. */
  OUT_OUTPUT_MAX = 65536,
  OUT_ANSWER_MAX = ANSWER_BYTES_MAX,
  OUT_EVENT_MAX = OUT_BYTES - 1024,
  FAREWELL_MS = 100,
};

int channel = -1;
int powers_off, restarts;
static int listener = -1;
static uint8_t in[4 + 1 + FRAME_BYTES_MAX];
static size_t in_have;
static uint8_t out[OUT_BYTES];
static size_t out_have, frame_at;

static const size_t payload_max[KINDS_END] = {
    [CLAIM] = CLAIM_BYTES_MAX,      [RUN] = RUN_BYTES_MAX,          [INPUT] = 5 + STREAM_BYTES_MAX,
    [CLOSE] = SHORT_BYTES_MAX,      [CREDIT] = SHORT_BYTES_MAX,     [SIGNAL] = SHORT_BYTES_MAX,
    [KILL] = SHORT_BYTES_MAX,       [PHASE] = POLICY_FRAME_BYTES_MAX, [LIST] = PATH_FRAME_BYTES_MAX,
    [STATUS] = SHORT_BYTES_MAX,     [RENEW] = RENEW_BYTES_MAX,      [HOLD] = SHORT_BYTES_MAX,
    [LOOK] = PATH_FRAME_BYTES_MAX,  [READ] = PATH_FRAME_BYTES_MAX, [WATCH] = SHORT_BYTES_MAX,
    [RULE] = RULE_BYTES_MAX,        [BOUND] = BOUND_BYTES_MAX,      [FINISH] = SHORT_BYTES_MAX,
};

/* ---- host ---- */

static int is_listening(int fd) {
  int on = 0;
  socklen_t length = sizeof on;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) == 0 && on;
}

int open_channel(int fd) {
  if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) return 0;
  if (is_listening(fd)) listener = fd;
  else channel = fd;
  return 1;
}

/* Rejects programs of the guest, which can connect to the vsock too if the kernel has vsock_loopback. */
static int is_of_host(const struct sockaddr_vm *peer) {
  return peer->svm_family != AF_VSOCK || peer->svm_cid == VMADDR_CID_HOST;
}

/* Accepts a connection of the host. Returns 0 if there is none. */
static int take_host(void) {
  struct sockaddr_vm peer = {0};
  socklen_t length = sizeof peer;
  int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return 0;
  if (!is_of_host(&peer)) {
    close(fd);
    return 0;
  }
  channel = fd;
  return 1;
}

int await_host(int ms) {
  struct pollfd on = {.fd = listener, .events = POLLIN};
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  for (long long end = now.tv_sec * 1000LL + ms, left = ms; channel < 0 && left > 0;) {
    if (poll(&on, 1, (int)left) > 0) take_host();
    clock_gettime(CLOCK_MONOTONIC, &now);
    left = end - now.tv_sec * 1000LL;
  }
  return channel >= 0;
}

void keep_host(void) {
  if (listener >= 0) close(listener);
  listener = -1;
}

/* Closes the host's connection, and drops a partially received frame. */
static void lose_host(int code) {
  if (listener < 0) end_agent(code);
  close(channel);
  channel = -1;
  explicit_bzero(in, in_have);
  in_have = out_have = 0;
}

/* ---- reading ---- */

static const uint8_t *take(struct reader *from, size_t length) {
  static const uint8_t none[8];
  if (from->bad || length > from->left) {
    from->bad = 1;
    return none;
  }
  const uint8_t *bytes = from->at;
  from->at += length;
  from->left -= length;
  return bytes;
}

static uint64_t take_number(struct reader *from, size_t length) {
  const uint8_t *bytes = take(from, length);
  uint64_t value = 0;
  for (size_t i = length; i > 0; i--) value = value << 8 | bytes[i - 1];
  return value;
}

uint8_t take_u8(struct reader *from) { return (uint8_t)take_number(from, 1); }
uint16_t take_u16(struct reader *from) { return (uint16_t)take_number(from, 2); }
uint32_t take_u32(struct reader *from) { return (uint32_t)take_number(from, 4); }
uint64_t take_u64(struct reader *from) { return take_number(from, 8); }

const uint8_t *take_bytes(struct reader *from, size_t min, size_t max, size_t *length) {
  *length = take_u16(from);
  if (*length < min || *length > max) from->bad = 1;
  const uint8_t *bytes = take(from, *length);
  if (from->bad) *length = 0;
  return bytes;
}

const uint8_t *take_rest(struct reader *from, size_t length) { return take(from, length); }

char *take_text(struct reader *from, size_t min, size_t max) {
  static char none[1];
  size_t length;
  uint8_t *field = from->at;
  const uint8_t *bytes = take_bytes(from, min, max, &length);
  if (!from->bad && memchr(bytes, 0, length)) from->bad = 1;
  none[0] = 0;
  if (from->bad) return none;
  /* Moved over its two length bytes, which makes room for the NUL. */
  memmove(field, bytes, length);
  field[length] = 0;
  return (char *)field;
}

int is_whole(const struct reader *from) { return !from->bad && from->left == 0; }

static void take_frame(size_t length, void (*hand)(uint8_t, struct reader *)) {
  struct reader payload = {in + HEADER_BYTES, length - 1, 0};
  uint8_t version = take_u8(&payload);
  if (payload.bad) end_agent(BAD_PAYLOAD);
  if (version != WIRE_VERSION) end_agent(BAD_VERSION);
  hand(in[4], &payload);
  /* Wiped, because it may contain a seed. */
  explicit_bzero(in, 4 + length);
  in_have -= 4 + length;
  memmove(in, in + 4 + length, in_have);
}

static int is_end(int error) { return error == ECONNRESET || error == EPIPE; }

/* Reads once, and passes on complete frames while there is room for an answer. */
static void read_channel(int may_read, void (*hand)(uint8_t, struct reader *)) {
  if (may_read && in_have < sizeof in) {
    ssize_t n = read(channel, in + in_have, sizeof in - in_have);
    if (n == 0) return lose_host(CHANNEL_ENDED);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return lose_host(is_end(errno) ? CHANNEL_ENDED : BROKEN_CHANNEL);
    if (n > 0) in_have += (size_t)n;
  }
  while (in_have >= HEADER_BYTES && has_room_for_answer()) {
    size_t length = in[0] | (size_t)in[1] << 8 | (size_t)in[2] << 16 | (size_t)in[3] << 24;
    if (in[4] == 0 || in[4] >= KINDS_END) end_agent(BAD_KIND);
    if (length < 2 || length > 1 + payload_max[in[4]]) end_agent(BAD_LENGTH);
    if (in_have < 4 + length) return;
    take_frame(length, hand);
  }
}

/* ---- writing ---- */

void put_bytes(const void *bytes, size_t length) {
  if (length > sizeof out - out_have) end_agent(BROKEN_AGENT);
  memcpy(out + out_have, bytes, length);
  out_have += length;
}

static void put_number(uint64_t value, size_t length) {
  uint8_t bytes[8];
  for (size_t i = 0; i < length; i++) bytes[i] = (uint8_t)(value >> 8 * i);
  put_bytes(bytes, length);
}

void put_u8(uint8_t value) { put_number(value, 1); }
void put_u16(uint16_t value) { put_number(value, 2); }
void put_u32(uint32_t value) { put_number(value, 4); }
void put_u64(uint64_t value) { put_number(value, 8); }

void put_text(const char *text) {
  size_t length = strnlen(text, PATH_BYTES_MAX);
  put_u16((uint16_t)length);
  put_bytes(text, length);
}

size_t put_hole(size_t length) {
  put_number(0, length);
  return out_have - length;
}

void fill_u8(size_t hole, uint8_t value) { out[hole] = value; }

void fill_u16(size_t hole, uint16_t value) {
  for (size_t i = 0; i < 2; i++) out[hole + i] = (uint8_t)(value >> 8 * i);
}

void fill_u32(size_t hole, uint32_t value) {
  for (size_t i = 0; i < 4; i++) out[hole + i] = (uint8_t)(value >> 8 * i);
}

void begin(uint8_t kind) {
  frame_at = put_hole(4);
  put_u8(kind);
  put_u8(WIRE_VERSION);
}

void finish(void) { fill_u32(frame_at, (uint32_t)(out_have - frame_at - 4)); }

void refuse(uint8_t kind, uint32_t about, uint8_t stage, int error) {
  begin(REFUSED);
  put_u8(kind);
  put_u32(about);
  put_u8(stage);
  put_u16((uint16_t)error);
  finish();
}

int has_room_for_answer(void) { return channel >= 0 && out_have <= OUT_ANSWER_MAX; }
int has_room_for_output(void) { return channel >= 0 && out_have <= OUT_OUTPUT_MAX; }
int has_room_for_event(void) { return channel >= 0 && out_have <= OUT_EVENT_MAX; }

static void flush_channel(void) {
  ssize_t n = write(channel, out, out_have);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) {
    out_have = 0;
    return lose_host(is_end(errno) ? CHANNEL_ENDED : BROKEN_CHANNEL);
  }
  out_have -= (size_t)n;
  memmove(out, out + n, out_have);
}

/* ---- loop ---- */

struct pollfd poll_channel(void) {
  if (channel < 0) return (struct pollfd){.fd = listener, .events = POLLIN};
  short events = (short)((has_room_for_answer() ? POLLIN : 0) | (out_have > 0 ? POLLOUT : 0));
  return (struct pollfd){.fd = channel, .events = events};
}

void serve_channel(short events, void (*hand)(uint8_t, struct reader *), void (*greet)(void)) {
  if (events & POLLNVAL) end_agent(BROKEN_CHANNEL);
  if (channel < 0) {
    if (events & POLLIN && take_host()) greet();
    return;
  }
  if (events & POLLOUT) flush_channel();
  /* Detects a closed connection also while nothing is read because the buffer is full. */
  if (channel >= 0 && events & (POLLHUP | POLLERR) && !(events & POLLIN)) lose_host(CHANNEL_ENDED);
  if (channel >= 0) read_channel(events & POLLIN, hand);
}

/* Writes for at most a tenth of a second, so that a host that does not read cannot delay the kill. */
static void say_farewell(int code) {
  if (channel < 0 || code == CHANNEL_ENDED || sizeof out - out_have < 64) return;
  begin(LOST);
  put_u8((uint8_t)code);
  finish();
  for (int tries = 0; tries < 10 && out_have > 0; tries++) {
    ssize_t n = write(channel, out, out_have);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return;
    if (n > 0) {
      out_have -= (size_t)n;
      memmove(out, out + n, out_have);
    } else {
      struct pollfd on = {.fd = channel, .events = POLLOUT};
      poll(&on, 1, FAREWELL_MS / 10);
    }
  }
}

_Noreturn void end_agent(int code) {
  if (code != NOT_PID_1) kill_all();
  /* No farewell after an incomplete frame: the host would read it as the rest of that frame. */
  if (code != BROKEN_AGENT) say_farewell(code);
  if (powers_off) reboot(restarts ? RB_AUTOBOOT : RB_POWER_OFF);
  _exit(code);
}

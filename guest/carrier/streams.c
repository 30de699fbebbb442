/*
 * Problem: a server needs the runner's socket and outputs like local ones: ordered bytes, end of file, and back-pressure. One virtio
 * port has no end of file, and there is no ordering among several ports.
 *
 * Mechanism: a table of fixed size, with a flow-control window per stream and direction. Ordering: bytes of the runner's socket are
 * sent after the bytes that were in its outputs at that time (FIONREAD), so that a reported end follows the output before it.
 *
 * Output of the runner before the first frame of the server is dropped: a spare has no output for its job.
 *
 * A hold completes the transfers in flight, so that the buffers of a copy of the machine are consistent, and its server knows each
 * window.
 *
 * Relies on Linux's FIONREAD for pipes and sockets. Not handled: a child of the runner that keeps an output open after the runner
 * exited: its later output is lost with the guest.
 */
#define _GNU_SOURCE
#include "streams.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "link.h"

enum { BAD_STREAM = 67, BACKLOG = 64, STREAM_LAST = 1 << 30 };

struct stream {
  int is_used, reads, writes, closes, is_socket;
  uint32_t id, credit;
  /* Bytes of the outputs that must be sent first. */
  int before;
  size_t at, end, done;
  uint8_t input[WINDOW];
};

int is_told, is_still;
static struct stream streams[STREAMS_MAX];
static int listener = -1, has_server, is_ordered;
static uint32_t next_id = CONNECTION_FIRST;

static struct stream *find(uint32_t id) {
  for (int i = 0; i < STREAMS_MAX; i++)
    if (streams[i].is_used && streams[i].id == id) return &streams[i];
  return NULL;
}

static void begin_stream(struct stream *stream, uint32_t id, int reads, int writes) {
  stream->is_used = 1;
  stream->id = id;
  stream->reads = reads;
  stream->writes = writes;
  stream->is_socket = reads >= 0 && reads == writes;
  stream->credit = id < CONNECTION_FIRST ? WINDOW : WINDOW_OUT;
  stream->closes = 0;
  stream->at = stream->end = stream->done = 0;
}

void open_own(uint32_t id, int reads, int writes) { begin_stream(&streams[id], id, reads, writes); }

static void close_reads(struct stream *stream) {
  if (stream->reads >= 0 && stream->reads != stream->writes) close(stream->reads);
  stream->reads = -1;
}

static void close_writes(struct stream *stream) {
  if (stream->writes >= 0 && stream->is_socket) shutdown(stream->writes, SHUT_WR);
  if (stream->writes >= 0 && stream->reads != stream->writes) close(stream->writes);
  stream->writes = -1;
}

static void forget(struct stream *stream) {
  if (stream->reads >= 0) close(stream->reads);
  if (stream->writes >= 0 && stream->writes != stream->reads) close(stream->writes);
  stream->reads = stream->writes = -1;
  stream->is_used = 0;
}

static void forget_ended(struct stream *stream) {
  if (stream->id >= CONNECTION_FIRST && stream->reads < 0 && stream->writes < 0) forget(stream);
}

static void reset(struct stream *stream) {
  send_about(RESET, stream->id);
  forget(stream);
}

/* ---- frames ---- */

static void take_data(struct stream *stream, const uint8_t *bytes, size_t length) {
  size_t window = stream->id < CONNECTION_FIRST ? WINDOW : WINDOW_OUT;
  if (length == 0 || stream->id == STDOUT || stream->id == STDERR || stream->closes) _exit(BAD_STREAM);
  if (length > window - (stream->end - stream->at) - stream->done) _exit(BAD_STREAM);
  /* The runner has closed its socket: dropped. */
  if (stream->writes < 0) return;
  if (stream->end + length > window) {
    memmove(stream->input, stream->input + stream->at, stream->end - stream->at);
    stream->end -= stream->at;
    stream->at = 0;
  }
  memcpy(stream->input + stream->end, bytes, length);
  stream->end += length;
}

static void take_credit(struct stream *stream, uint32_t bytes) {
  if (bytes > CREDIT_MAX || stream->credit > CREDIT_MAX - bytes) _exit(BAD_STREAM);
  stream->credit += bytes;
}

static void listen_on_loopback(void) {
  const struct sockaddr_in at = {
      .sin_family = AF_INET, .sin_port = htons(EGRESS_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int on = 1;
  if (listener >= 0) return;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) _exit(BAD_STREAM);
  if (bind(listener, (const struct sockaddr *)&at, sizeof at) < 0 || listen(listener, BACKLOG) < 0) _exit(BAD_STREAM);
}

static void take_of_stream(uint8_t kind, const uint8_t *payload, size_t length) {
  struct stream *stream = find(number_at(payload));
  /* Race: both sides may close a connection at the same time. */
  if (!stream && number_at(payload) >= CONNECTION_FIRST) return;
  if (!stream) _exit(BAD_STREAM);
  switch (kind) {
    case DATA:
      return take_data(stream, payload + 4, length - 4);
    case END:
      stream->closes = 1;
      return;
    case CREDIT:
      if (length != 8) _exit(BAD_STREAM);
      return take_credit(stream, number_at(payload + 4));
    case RESET:
      if (stream->id < CONNECTION_FIRST) _exit(BAD_STREAM);
      return forget(stream);
    default:
      _exit(BAD_STREAM);
  }
}

static void go_on(const uint8_t *payload, size_t length) {
  if (length != 1 || payload[0] > 1) _exit(BAD_STREAM);
  is_still = 0;
  for (int i = OWN_STREAMS; i < STREAMS_MAX && payload[0]; i++)
    if (streams[i].is_used) forget(&streams[i]);
}

void take_frame(uint8_t kind, const uint8_t *payload, size_t length) {
  has_server = 1;
  if (is_still && kind == GO) return go_on(payload, length);
  if (is_still) _exit(BAD_STREAM);
  if (kind == HOLD && length == 0) {
    is_still = 1;
    return send_frame(HELD);
  }
  if (kind == LISTEN && length == 0) return listen_on_loopback();
  if (kind == BYE && length == 0) {
    is_told = 1;
    return;
  }
  if (length < 4) _exit(BAD_STREAM);
  take_of_stream(kind, payload, length);
}

/* ---- bytes ---- */

static int waiting_in(const struct stream *stream) {
  int bytes = 0;
  return stream->reads >= 0 && ioctl(stream->reads, FIONREAD, &bytes) == 0 ? bytes : 0;
}

/* True while outputs have bytes that must be sent before the next ones of the socket. */
static int is_held(void) {
  for (int i = STDOUT; i <= STDERR; i++)
    if (streams[i].reads >= 0 && streams[i].before > 0) return 1;
  return 0;
}

static int may_read(const struct stream *stream) {
  if (!stream->is_used || stream->reads < 0 || is_still || !has_room()) return 0;
  if (!has_server) return stream->id != HANDLE;
  return stream->credit > 0 && (stream->id != HANDLE || !is_held());
}

/* Returns whether there may be more. */
static int read_guest(struct stream *stream) {
  static uint8_t bytes[DATA_BYTES_MAX];
  if (!may_read(stream)) return 0;
  size_t most = has_server && stream->credit < sizeof bytes ? stream->credit : sizeof bytes;
  ssize_t n = read(stream->reads, bytes, most);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n < 0 && stream->id >= CONNECTION_FIRST) {
    reset(stream);
    return 0;
  }
  if (n <= 0) {
    close_reads(stream);
    send_about(END, stream->id);
    forget_ended(stream);
    return 0;
  }
  if (stream->before > 0) stream->before -= (int)n;
  if (!has_server) return 1;
  stream->credit -= (uint32_t)n;
  send_data(stream->id, bytes, (size_t)n);
  return 1;
}

static void read_handle(void) {
  for (int i = STDOUT; i <= STDERR && !is_ordered; i++) streams[i].before = waiting_in(&streams[i]);
  is_ordered = 1;
  for (int i = STDOUT; i <= STDERR; i++)
    while (streams[i].before > 0 && read_guest(&streams[i])) continue;
  if (is_held()) return;
  read_guest(&streams[HANDLE]);
  is_ordered = 0;
}

static void write_guest(struct stream *stream) {
  while (stream->writes >= 0 && stream->at < stream->end) {
    ssize_t n = write(stream->writes, stream->input + stream->at, stream->end - stream->at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0 && stream->id >= CONNECTION_FIRST) return reset(stream);
    if (n < 0) {
      close_writes(stream);
      stream->at = stream->end;
      return;
    }
    stream->at += (size_t)n;
    stream->done += (size_t)n;
  }
  if (stream->done > 0 && (stream->at == stream->end || stream->done >= WINDOW_OUT / 2)) {
    send_credit(stream->id, (uint32_t)stream->done);
    stream->done = 0;
  }
  if (stream->closes && stream->at == stream->end && stream->writes >= 0) {
    close_writes(stream);
    forget_ended(stream);
  }
}

static void accept_some(void) {
  struct stream *stream = NULL;
  for (int i = OWN_STREAMS; i < STREAMS_MAX && !stream; i++)
    if (!streams[i].is_used) stream = &streams[i];
  if (!stream || !has_room() || next_id == STREAM_LAST) return;
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  begin_stream(stream, next_id++, fd, fd);
  send_about(OPEN, stream->id);
}

/* ---- loop ---- */

size_t poll_streams(struct pollfd *on) {
  for (int i = 0; i < STREAMS_MAX; i++) {
    const struct stream *stream = &streams[i];
    short events = (short)(may_read(stream) ? POLLIN : 0);
    if (stream->is_used && !is_still && stream->writes >= 0 && stream->at < stream->end) events |= POLLOUT;
    int fd = stream->reads >= 0 ? stream->reads : stream->writes;
    on[i] = (struct pollfd){.fd = stream->is_used && events ? fd : -1, .events = events};
  }
  on[STREAMS_MAX] = (struct pollfd){.fd = has_room() && !is_still ? listener : -1, .events = POLLIN};
  return POLLS_MAX;
}

void serve_streams(const struct pollfd *on, size_t count) {
  if (count != POLLS_MAX || is_still) return;
  for (int i = 0; i < STREAMS_MAX; i++)
    if (streams[i].is_used && has_room()) write_guest(&streams[i]);
  for (int i = OWN_STREAMS; i < STREAMS_MAX; i++)
    if (on[i].revents & (POLLIN | POLLHUP | POLLERR)) read_guest(&streams[i]);
  if (on[HANDLE].revents) read_handle();
  for (int i = STDOUT; i <= STDERR; i++)
    if (on[i].revents) read_guest(&streams[i]);
  if (on[STREAMS_MAX].revents & POLLIN) accept_some();
}

static int finish_stream(struct stream *stream) {
  while (stream->reads >= 0 && waiting_in(stream) > 0 && read_guest(stream)) continue;
  if (stream->reads >= 0 && waiting_in(stream) > 0) return 0;
  if (stream->reads < 0) return 1;
  if (!has_room()) return 0;
  close_reads(stream);
  send_about(END, stream->id);
  return 1;
}

int finish_streams(void) {
  return finish_stream(&streams[STDOUT]) && finish_stream(&streams[STDERR]) && finish_stream(&streams[HANDLE]);
}

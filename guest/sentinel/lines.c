/*
 * Protocol lines: one JSON value a line to the warden.
 *
 * Problem: a blocking write would delay phase changes, and a guest can cause lines at the rate of its system calls.
 *
 * Mechanism: lines are collected in one buffer and sent without blocking; the loop sends the rest when the socket is
 * writable. Lines caused by a guest are dropped above the fill level of their kind, so that the sentinel's own lines always
 * fit. If even those do not fit, the warden has stopped reading, and the wall is ended. Texts of a guest are escaped byte by
 * byte to ASCII, because their encoding is unknown, and truncated.
 *
 * Relies on: send(2) with MSG_DONTWAIT on a socket pair of type SOCK_STREAM, unix(7).
 *
 * Not handled: order among processes. A line reports the moment of the sentinel's observation.
 */
#define _GNU_SOURCE
#include "lines.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include "wall.h"

static char out[OUT_BYTES_MAX];
static size_t out_bytes;

int has_unsent(void) { return out_bytes > 0; }

void flush_out(void) {
  while (out_bytes > 0) {
    ssize_t n = send(CONTROL_FD, out, out_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n < 0) end_wall(LOST_WARDEN);
    memmove(out, out + n, out_bytes - (size_t)n);
    out_bytes -= (size_t)n;
  }
}

int queue_line(size_t pids_max_fd, const char *line, int n) {
  if (n <= 0 || n >= LINE_BYTES_MAX || out_bytes + (size_t)n > pids_max_fd) return 0;
  memcpy(out + out_bytes, line, (size_t)n);
  out_bytes += (size_t)n;
  flush_out();
  return 1;
}

/* Escapes every non-ASCII byte by its number: the guest's encoding is unknown. */
void quote(char *to, size_t room, const char *from) {
  size_t have = 0;
  for (; *from && have + 7 < room; from++) {
    unsigned char c = (unsigned char)*from;
    if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
      have += (size_t)snprintf(to + have, room - have, "\\u%04x", c);
    else
      to[have++] = (char)c;
  }
  to[have] = 0;
}

void quote_end(char *to, size_t room, const char *from) {
  size_t length = strlen(from);
  quote(to, room, from + (length > SHOWN_BYTES_MAX ? length - SHOWN_BYTES_MAX : 0));
}

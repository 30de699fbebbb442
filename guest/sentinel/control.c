/*
 * Messages of the warden: frames of a length, a kind and a payload, and figures on request.
 *
 * Problem: the sentinel executes these messages. An invalid one must not leave a wall with an undefined policy.
 *
 * Mechanism: each frame is read into a fixed buffer and checked in full, its length first. Anything that is not exactly a
 * known frame ends this process and the wall. So does end of stream: the warden has exited.
 *
 * Relies on: a socket pair of type SOCK_STREAM, unix(7). README.md has the table of frames.
 *
 * Not handled: authentication. The descriptor is private to the warden.
 */
#define _GNU_SOURCE
#include "control.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include "capture.h"
#include "connections.h"
#include "connects.h"
#include "execs.h"
#include "forks.h"
#include "give.h"
#include "lines.h"
#include "phases.h"
#include "settle.h"
#include "sockets.h"
#include "wall.h"

enum { FRAME_BYTES_MAX = 1024 };

static void send_status(uint32_t nonce) {
  SEND_LINE("{\"kind\":\"status\",\"nonce\":%u,\"t\":%.3f,\"generation\":%u,\"allow\":%u,\"planned\":%d,\"answered\":%llu,"
      "\"denied\":%llu,\"leftOut\":%llu,\"waits\":%d,\"unsettled\":%d}\n",
      nonce, (double)now_ns() / 1e6, wall.generation, wall.allowed, wall.phase_count, (unsigned long long)wall.answered,
      (unsigned long long)wall.denied, (unsigned long long)wall.dropped_reports, pending_connect_count + pending_fd_count, settling_count);
}

static int handle_frame(uint8_t kind, const uint8_t *at, size_t bytes) {
  switch (kind) {
    case 1:
      return add_phases(at, bytes);
    case 2:
      if (bytes != 1 || at[0] > 1) return 0;
      wall.reports = at[0];
      return 1;
    case 3:
      if (bytes != 4) return 0;
      send_status(u32_at(at));
      return 1;
    case 4:
      return start_capture(at, bytes);
    case 5:
      if (bytes != 1 || at[0] != 1) return 0;
      wall.defers_execs = 1;
      return 1;
    case 6:
      return answer_pending_exec(at, bytes);
    case 7:
      return look_up_socket(at, bytes);
    case 8:
      return lower_task_limit(at, bytes);
    case 9:
      return set_egress_port(at, bytes);
    default:
      return 0;
  }
}

void receive_frames(void) {
  static uint8_t in[FRAME_BYTES_MAX];
  static size_t have;
  ssize_t n = recv(CONTROL_FD, in + have, sizeof in - have, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) end_wall(LOST_WARDEN);
  have += (size_t)n;
  while (have >= 4) {
    uint32_t bytes = u32_at(in);
    if (bytes < 1 || bytes > sizeof in - 4) end_wall(BAD_FRAME);
    if (have < 4 + (size_t)bytes) return;
    if (!handle_frame(in[4], in + 5, bytes - 1)) end_wall(BAD_FRAME);
    have -= 4 + (size_t)bytes;
    memmove(in, in + 4 + bytes, have);
  }
}

/*
 * The sentinel: answers the system calls of one wall that depend on its phase (seccomp user notification).
 *
 *   sentinel enter [mask COUNT FROM AT...]... PATH ARGV0 [ARG...]
 *                                           inside: masks parts of /proc, loads both filters, hands over its listener,
 *                                           execs the program
 *   sentinel watch OPTIONS...               outside: takes the listener and answers until the wall is over
 *   sentinel keep OPTIONS... -- STEPS... -- PATH ARGV0 [ARG...]
 *                                           outside: starts the program of a wall without namespaces, answers, ends it
 *
 * Problem: a loaded seccomp filter cannot be changed, and the phases of a life close classes of calls while it runs. All
 * code in the wall is hostile.
 *
 * Mechanism: one thread, one loop, no allocation after the start, every buffer with a bound. Three rules:
 * - Allowed classes only ever shrink (wall.c).
 * - CONTINUE is answered only where no argument in memory was judged (notify.c). Where a path or an address decides, the
 *   work is done here, on a copy (opens.c, connects.c).
 * - Phases change by CLOCK_BOOTTIME in this process, without any message from outside (phases.c). When the warden ends,
 *   every class is closed and the wall is killed (wall.c).
 *
 *   enter.c    inside: filters, handover             notify.c   requests and answers
 *   start.c    options, rights, listener             opens.c    brokered opens      give.c     descriptors for callers
 *   control.c  the warden's messages                 connects.c brokered connects   execs.c    programs
 *   phases.c   phases, clock                         secrets.c  reads of secrets    reports.c  budgets of reports
 *   settle.c   calls that may still happen           caller.c   memory of a caller  paths.c    paths in the wall's root
 *   wall.c     policy, figures, end                  lines.c    lines to the warden
 *   capture.c  copies of memory                      connections.c  sockets by their ports   masks.c  inside: masks
 *   watches.c  watches on files                      syncs.c    answers to fsync
 *
 * and for walls without namespaces, whose parent this process is:
 *
 *   keep.c     start and end                         members.c  its processes
 *   forks.c    new processes and threads             sockets.c  streams, and the egress path
 *   signals.c  signals                               modes.c    modes and times of files
 *
 * Relies on: seccomp_unotify(2), Linux 5.9 or later. README.md lists the guarantees, the exceptions, and the protocol.
 *
 * Not handled: its own CPU time is in no bound of the wall. It pauses beyond a share of a core, below.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include "connects.h"
#include "control.h"
#include "enter.h"
#include "execs.h"
#include "give.h"
#include "keep.h"
#include "lines.h"
#include "notify.h"
#include "phases.h"
#include "reports.h"
#include "secrets.h"
#include "settle.h"
#include "start.h"
#include "wall.h"

enum {
  /* CPU share, in 1/256 of a core, and its burst. */
  SHARE = 64,
  BURST_MS = 500,
  PAUSE_MS = 2,
  /* Pauses between attempts, while nothing else happens. */
  EXEC_POLL_MS = 100,
  RETRY_MS = 8,
  WATCH_POLL_MS = 50,
  ZOMBIE_POLL_US = 1000,
};

/* CPU time spent here is outside the wall's bounds, and caused by it: beyond its share the sentinel pauses
 * requests. Phases and control messages continue. */
static int is_over_cpu_share(void) {
  static int64_t budget = BURST_MS * 1000000ll, spent_before;
  static uint64_t before;
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  int64_t spent = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
  uint64_t now = now_ns();
  budget += (int64_t)(now - before) / 256 * SHARE - (spent - spent_before);
  if (before == 0 || budget > BURST_MS * 1000000ll) budget = BURST_MS * 1000000ll;
  before = now;
  spent_before = spent;
  return budget < 0;
}

static int wait_ms(int is_paused) {
  if (is_paused) return wall.phase_count > 0 && wall.phases[0].at < now_ns() + PAUSE_MS * 1000000ull ? 0 : PAUSE_MS;
  if (received_count > 0 && pending_fd_count < PENDING_FDS_MAX) return 0;
  if (unconfirmed_count + unconfirmed_table_count + traced_count + pending_connect_count > 0) return 1;
  if (pending_fd_count > 0 && failed_attempts < FAILED_ATTEMPTS_MAX) return 1;
  if (unwatched_count > 0) return 1;
  int opens = open_count_of_watched();
  uint64_t most = pending_fd_count > 0 ? RETRY_MS : opens > 0 ? WATCH_POLL_MS : exec_count > 0 ? EXEC_POLL_MS : 60000;
  if (wall.phase_count == 0) return pending_fd_count > 0 || exec_count > 0 || opens > 0 ? (int)most : -1;
  uint64_t now = now_ns(), at = wall.phases[0].at;
  uint64_t ms = at <= now ? 0 : (at - now) / 1000000u;
  return (int)(ms > most ? most : ms);
}

static void receive_handover(void) {
  if (wall.is_kept) receive_listener();
  else copy_listener();
}

static void drain_sigchld(void) {
  struct signalfd_siginfo seen;
  while (read(sigchld_fd, &seen, sizeof seen) > 0) continue;
}

static _Noreturn void watch(void) {
  for (;;) {
    int is_paused = is_over_cpu_share();
    struct pollfd on[] = {
        {.fd = CONTROL_FD, .events = (short)(POLLIN | (has_unsent() ? POLLOUT : 0))},
        {.fd = wall.parent, .events = POLLIN},
        {.fd = is_paused ? -1 : wall.listener >= 0 ? wall.listener : HANDOVER_FD, .events = POLLIN},
        {.fd = watch_fd, .events = POLLIN},
        {.fd = sigchld_fd, .events = POLLIN},
    };
    int ms = wait_ms(is_paused);
    /* Polls without sleeping in the last millisecond before a phase. */
    if (poll(on, 5, ms) < 0 && errno != EINTR) end_wall(BAD_START);
    if (wall.listener >= 0 && on[2].revents & POLLIN) receive_all();
    apply_due();
    if (on[1].revents) end_wall(LOST_WARDEN);
    /* Control first: a request may depend on the warden's last message. */
    if (on[0].revents & (POLLIN | POLLHUP | POLLERR) || on[2].revents & POLLIN) receive_frames();
    if (on[0].revents & POLLOUT) flush_out();
    if (pending_connect_count > 0) retry_connects();
    if (pending_fd_count > 0 && !is_paused) retry_pending_fd();
    if (exec_count > 0) expire_execs();
    if (unwatched_count > 0) add_pending_watches();
    if (watched_count > 0) read_watch_events();
    if (on[4].revents) drain_sigchld();
    if (unconfirmed_count + unconfirmed_table_count > 0) continue_settling();
    else release_stopped();
    end_if_over();
    if (is_paused) continue;
    if (received_count > 0 && pending_fd_count < PENDING_FDS_MAX) {
      answer_one();
    } else if (on[2].revents & POLLIN) {
      if (wall.listener < 0) receive_handover();
    } else if (on[2].revents & (POLLHUP | POLLERR)) {
      /* A keeper reaps each process; exited processes cause no requests. */
      if (wall.is_kept && wall.listener >= 0) {
        usleep(ZOMBIE_POLL_US);
        continue;
      }
      read_watch_events();
      _exit(wall.listener >= 0 ? ENDED_WELL : NOT_HANDED_OVER);
    }
  }
}

int main(int argc, char **argv) {
  if (argc >= 4 && !strcmp(argv[1], "enter")) enter(argv + 2);
  if (argc < 2) return BAD_START;
  draw_hash_keys();
  if (!strcmp(argv[1], "keep")) keep(argc - 2, argv + 2);
  else if (!strcmp(argv[1], "watch")) start(argc - 2, argv + 2);
  else return BAD_START;
  watch();
}

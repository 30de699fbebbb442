/*
 * Phases and their clock: when each class is closed, and when that is confirmed.
 *
 * Problem: a phase must start in time even if the warden, the server or the machine is overloaded, and must not be confirmed
 * while a call of a closed class can still take effect.
 *
 * Mechanism: tables of the warden are merged into one list by time; they add to each other and never replace. The loop
 * sleeps until the first one is due, on CLOCK_BOOTTIME. A phase closes classes at once, withdraws pending descriptors,
 * forbids new processes by pids.max, and is confirmed once every continued call has settled. A kernel timer kills this
 * process if it is blocked for seconds beyond a phase; the warden then ends the wall.
 *
 * Relies on: poll(2); clock_gettime(2) CLOCK_BOOTTIME (Linux 2.6.39); timer_create(2) with SIGKILL; pids.max of cgroups(7).
 *
 * Not handled: new processes where there is no cgroup. The warden then lowers the limit of each process.
 */
#define _GNU_SOURCE
#include "phases.h"
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "control.h"
#include "give.h"
#include "lines.h"
#include "settle.h"
#include "wall.h"

enum { PHASE_BYTES = 12, LATE_MS_MAX = 3000 };

/* Closed phases whose continued calls may be unfinished, and the tables to confirm. */
static struct phase unconfirmed[PHASES_MAX];
static struct {
  uint32_t generation;
  uint64_t request;
} unconfirmed_tables[PHASES_MAX];
int unconfirmed_count, unconfirmed_table_count;

static _Noreturn void end_with_reason(const char *why, int status) {
  SEND_LINE("{\"kind\":\"ended\",\"generation\":%u,\"why\":\"%s\"}\n", wall.generation, why);
  end_wall(status);
}

/* New processes are limited by pids.max and not by requests: a fork that waits for an answer could be
 * interrupted, which no program expects. Without a cgroup the warden lowers its own bound. */
static void forbid_new_processes(void) {
  char text[16] = "";
  if (wall.pids_max_fd < 0) return;
  if (pwrite(wall.pids_max_fd, "0", 1, 0) == 1 && pread(wall.pids_max_fd, text, sizeof text - 1, 0) > 0 && !strcmp(text, "0\n")) return;
  end_with_reason("unheld", PIDS_NOT_LIMITED);
}

/* Watchdog: if this process itself blocks on the wall until a phase is late, the timer kills it, and the warden
 * then ends the wall. */
static void arm_watchdog(void) {
  uint64_t now = now_ns(), due = wall.phase_count > 0 ? wall.phases[0].at : UINT64_MAX;
  if (unconfirmed_count > 0 && unconfirmed[0].at < due) due = unconfirmed[0].at;
  uint64_t late = due == UINT64_MAX ? 0 : (due > now ? due - now : 0) + LATE_MS_MAX * 1000000ull;
  struct itimerspec at = {.it_value = {.tv_sec = (time_t)(late / 1000000000u), .tv_nsec = (long)(late % 1000000000u)}};
  if (wall.has_watchdog) syscall(SYS_timer_settime, wall.watchdog, 0, &at, NULL);
}

static void confirm(void) {
  uint64_t now = now_ns();
  for (int i = 0; i < unconfirmed_count; i++)
    SEND_LINE("{\"kind\":\"flipped\",\"t\":%.3f,\"generation\":%u,\"allow\":%u,\"lateUs\":%llu}\n", (double)now / 1e6,
        unconfirmed[i].generation, wall.allowed, (unsigned long long)((now - unconfirmed[i].at) / 1000));
  for (int i = 0; i < unconfirmed_table_count; i++)
    SEND_LINE("{\"kind\":\"table\",\"t\":%.3f,\"generation\":%u,\"allow\":%u,\"planned\":%d,\"tookUs\":%llu}\n",
        (double)now / 1e6, unconfirmed_tables[i].generation, wall.allowed, wall.phase_count,
        (unsigned long long)((now - unconfirmed_tables[i].request) / 1000));
  unconfirmed_count = unconfirmed_table_count = 0;
  arm_watchdog();
}

/* A phase that cannot be confirmed is never reported as holding. */
void continue_settling(void) {
  settle();
  if (is_settling_late()) end_with_reason("unsettled", UNSETTLED);
  if (settling_count == 0) confirm();
}

static void apply_phase(const struct phase *phase) {
  uint8_t withdrawn = wall.allowed & (uint8_t)~phase->allow;
  for (int class = 0; class < CLASSES; class ++)
    if (withdrawn & 1 << class) wall.errors[class] = phase->errors[class];
  wall.allowed &= phase->allow;
  wall.generation = phase->generation;
  if (phase->kills) end_with_reason("time", ENDED_BY_PHASE);
  if (withdrawn & 1 << PROCESS) forbid_new_processes();
  if (withdrawn) recheck_pending_fds();
  if (withdrawn && wall.untracked) end_with_reason("unsettled", UNSETTLED);
  if (withdrawn) begin_settling(withdrawn);
  unconfirmed[unconfirmed_count++] = *phase;
}

void apply_due(void) {
  int before = wall.phase_count;
  while (wall.phase_count > 0 && wall.phases[0].at <= now_ns()) {
    struct phase due = wall.phases[0];
    wall.phase_count--;
    memmove(wall.phases, wall.phases + 1, (size_t)wall.phase_count * sizeof due);
    apply_phase(&due);
  }
  if (wall.phase_count == before) return;
  arm_watchdog();
  uint64_t until = now_ns() + SETTLE_US * 1000u;
  for (settle(); settling_count > 0 && now_ns() < until; settle()) usleep(50);
  continue_settling();
}

static void insert_phase(const struct phase *phase) {
  int at = wall.phase_count++;
  for (; at > 0 && wall.phases[at - 1].at > phase->at; at--) wall.phases[at] = wall.phases[at - 1];
  wall.phases[at] = *phase;
}

/* Tables are added to the planned ones and never replace them. */
int add_phases(const uint8_t *at, size_t bytes) {
  if (bytes < 5 || at[4] == 0 || bytes != 5 + (size_t)at[4] * PHASE_BYTES) return 0;
  uint32_t generation = u32_at(at);
  if (wall.phase_count + unconfirmed_count + at[4] > PHASES_MAX || unconfirmed_table_count == PHASES_MAX) {
    SEND_LINE("{\"kind\":\"refused\",\"generation\":%u,\"why\":\"too many phases\"}\n", generation);
    return 1;
  }
  uint64_t now = now_ns();
  for (int i = 0; i < at[4]; i++) {
    const uint8_t *row = at + 5 + i * PHASE_BYTES;
    struct phase phase = {.at = now + (uint64_t)u32_at(row) * 1000000u, .generation = generation, .allow = row[4]};
    if (row[4] & ~ALL || row[5] > 1) return 0;
    phase.kills = row[5];
    for (int class = 0; class < 6; class ++) phase.errors[class] = row[6 + class] ? row[6 + class] : EPERM;
    insert_phase(&phase);
  }
  unconfirmed_tables[unconfirmed_table_count].generation = generation;
  unconfirmed_tables[unconfirmed_table_count++].request = now;
  apply_due();
  arm_watchdog();
  if (settling_count == 0) confirm();
  return 1;
}

/*
 * Phases and their clock: what closes when, and when that is said to hold.
 *
 * Problem: a phase has to turn in time whether or not the warden, the server or the machine has time for it, and it must
 * not be confirmed before no call of a closed class can still happen.
 *
 * Mechanism: tables of the warden are merged into one list by time; they add to each other and never replace. The loop
 * sleeps until the first one is due, on CLOCK_BOOTTIME. A phase closes classes at once, withdraws what is on its way,
 * forbids new processes by the kernel's own bound, and is confirmed once every continued call has settled. A kernel timer
 * kills this process when it is held up for seconds beyond a phase; the warden then ends the wall.
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
static struct phase unheld[PHASES_MAX];
static struct {
  uint32_t generation;
  uint64_t asked;
} unanswered[PHASES_MAX];
int unheld_count, unanswered_count;

static _Noreturn void give_up(const char *why, int status) {
  SAY("{\"kind\":\"ended\",\"generation\":%u,\"why\":\"%s\"}\n", wall.generation, why);
  end_wall(status);
}

/* New processes are limited by pids.max and not by requests: a fork that waits for an answer could be
 * interrupted, which no program expects. Without a cgroup the warden lowers its own bound. */
static void start_none(void) {
  char text[16] = "";
  if (wall.bound < 0) return;
  if (pwrite(wall.bound, "0", 1, 0) == 1 && pread(wall.bound, text, sizeof text - 1, 0) > 0 && !strcmp(text, "0\n")) return;
  give_up("unheld", UNHELD);
}

/* Watchdog: if this process itself blocks on the wall until a phase is late, the timer kills it, and the warden
 * then ends the wall. */
static void mind_the_time(void) {
  uint64_t now = now_ns(), due = wall.phase_count > 0 ? wall.phases[0].at : UINT64_MAX;
  if (unheld_count > 0 && unheld[0].at < due) due = unheld[0].at;
  uint64_t late = due == UINT64_MAX ? 0 : (due > now ? due - now : 0) + LATE_MS_MAX * 1000000ull;
  struct itimerspec at = {.it_value = {.tv_sec = (time_t)(late / 1000000000u), .tv_nsec = (long)(late % 1000000000u)}};
  if (wall.has_alarm) syscall(SYS_timer_settime, wall.alarm, 0, &at, NULL);
}

static void say_held(void) {
  uint64_t now = now_ns();
  for (int i = 0; i < unheld_count; i++)
    SAY("{\"kind\":\"flipped\",\"t\":%.3f,\"generation\":%u,\"allow\":%u,\"lateUs\":%llu}\n", (double)now / 1e6,
        unheld[i].generation, wall.allowed, (unsigned long long)((now - unheld[i].at) / 1000));
  for (int i = 0; i < unanswered_count; i++)
    SAY("{\"kind\":\"table\",\"t\":%.3f,\"generation\":%u,\"allow\":%u,\"planned\":%d,\"tookUs\":%llu}\n",
        (double)now / 1e6, unanswered[i].generation, wall.allowed, wall.phase_count,
        (unsigned long long)((now - unanswered[i].asked) / 1000));
  unheld_count = unanswered_count = 0;
  mind_the_time();
}

/* A phase that cannot be confirmed is never reported as holding. */
void go_on_settling(void) {
  settle();
  if (is_hopeless()) give_up("unsettled", UNSETTLED);
  if (settling_count == 0) say_held();
}

static void apply(const struct phase *phase) {
  uint8_t withdrawn = wall.allowed & (uint8_t)~phase->allow;
  for (int class = 0; class < CLASSES; class ++)
    if (withdrawn & 1 << class) wall.errors[class] = phase->errors[class];
  wall.allowed &= phase->allow;
  wall.generation = phase->generation;
  if (phase->kills) give_up("time", AT_END);
  if (withdrawn & 1 << PROCESS) start_none();
  if (withdrawn) judge_giving();
  if (withdrawn && wall.forgotten) give_up("unsettled", UNSETTLED);
  if (withdrawn) begin_settling(withdrawn);
  unheld[unheld_count++] = *phase;
}

void apply_due(void) {
  int before = wall.phase_count;
  while (wall.phase_count > 0 && wall.phases[0].at <= now_ns()) {
    struct phase due = wall.phases[0];
    wall.phase_count--;
    memmove(wall.phases, wall.phases + 1, (size_t)wall.phase_count * sizeof due);
    apply(&due);
  }
  if (wall.phase_count == before) return;
  mind_the_time();
  uint64_t until = now_ns() + SETTLE_US * 1000u;
  for (settle(); settling_count > 0 && now_ns() < until; settle()) usleep(50);
  go_on_settling();
}

static void plan(const struct phase *phase) {
  int at = wall.phase_count++;
  for (; at > 0 && wall.phases[at - 1].at > phase->at; at--) wall.phases[at] = wall.phases[at - 1];
  wall.phases[at] = *phase;
}

/* Tables are added to the planned ones and never replace them. */
int take_table(const uint8_t *at, size_t bytes) {
  if (bytes < 5 || at[4] == 0 || bytes != 5 + (size_t)at[4] * PHASE_BYTES) return 0;
  uint32_t generation = u32_at(at);
  if (wall.phase_count + unheld_count + at[4] > PHASES_MAX || unanswered_count == PHASES_MAX) {
    SAY("{\"kind\":\"refused\",\"generation\":%u,\"why\":\"too many phases\"}\n", generation);
    return 1;
  }
  uint64_t now = now_ns();
  for (int i = 0; i < at[4]; i++) {
    const uint8_t *row = at + 5 + i * PHASE_BYTES;
    struct phase phase = {.at = now + (uint64_t)u32_at(row) * 1000000u, .generation = generation, .allow = row[4]};
    if (row[4] & ~ALL || row[5] > 1) return 0;
    phase.kills = row[5];
    for (int class = 0; class < 6; class ++) phase.errors[class] = row[6 + class] ? row[6 + class] : EPERM;
    plan(&phase);
  }
  unanswered[unanswered_count].generation = generation;
  unanswered[unanswered_count++].asked = now;
  apply_due();
  mind_the_time();
  if (settling_count == 0) say_held();
  return 1;
}

/*
 * Problem: a program that a job starts gets limits of its own, with all its descendants, before its first instruction. The job is
 * hostile: it forks, renames itself, and starts as many programs as it can.
 *
 * Mechanism: fanotify(7) holds each exec (FAN_OPEN_EXEC_PERM) until the agent has answered. If a rule names the file that the kernel
 * opened, the agent makes a cgroup within that of the process, with the limits of the rule, moves the process there, and only then lets
 * the exec go on. Children are born in the cgroup of their parent, and cgroupfs is in the initrd, out of reach: no process leaves its
 * zone. A zone within a zone is a cgroup within a cgroup, so the outer limits hold too.
 *
 * A zone ends when it has no process left (cgroup.events), which includes an OOM kill: memory.oom.group ends all of it, and none
 * of the rest. The host ends it by cgroup.kill. Limits are only lowered, and read back.
 *
 * Fails closed: an exec whose file or zone cannot be determined is refused (EPERM), and so are those beyond number and depth of zones. The
 * queue of execs has no limit of its own, because the kernel permits those that do not fit; each entry is a waiting process, whose
 * number pids.max limits. While the channel has no room for a report, execs wait.
 *
 * Relies on: Linux 5.17 (memory.events.local counts group kills), with fanotify permission events, and controllers for memory, pids and
 * cpu.
 *
 * Not handled: root of the guest. Programs in files of memory (memfd_create(2)), which fanotify does not report: they stay in the zone
 * that they were started in. The exec of a script is two, of its file and of its interpreter, each with a rule of its own or none. An
 * exec that fails after its answer leaves the process in the zone. A killed process is gone before its pid is moved: the kernel could
 * reuse the pid for another process of the guest meanwhile, which then gets tighter limits.
 */
#define _GNU_SOURCE
#include "zones.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>
#include "group.h"
#include "processes.h"
#include "zone-rules.h"

enum { EXECS_AT_ONCE = 16, EVENTS_BYTES_MAX = 256, PAGE_BYTES = 4096 };
/* cpu.max: microseconds in each tenth of a second; the kernel takes no quota below a millisecond. */
enum { CPU_PERIOD_US = 100000, CPU_QUOTA_US_MIN = 1000, CPU_US_PER_UNIT = CPU_PERIOD_US / 1000 };

/* Limits; all bits set: none. */
struct bounds {
  uint64_t memory;
  uint32_t cpu, processes;
};

struct zone {
  /* 0: unused. */
  uint32_t id;
  int depth, rule, is_ending;
  struct zone *outer;
  struct group group;
  int events;
  struct bounds bounds;
};

static int execs = -1, is_marked;
static struct zone zones[ZONES_MAX];
static struct bounds initial[ZONE_RULES_MAX];
static uint32_t made, refused;

static const char *const places[] = {"/", "/tmp", "/dev/shm", "/run"};
enum { PLACES_WITH_PROGRAMS = sizeof places / sizeof *places };

/* ---- limits ---- */

static int limit_cpu(const struct zone *zone, uint32_t thousandths) {
  char text[48], expected[64];
  uint64_t quota = (uint64_t)thousandths * CPU_US_PER_UNIT;
  if (quota < CPU_QUOTA_US_MIN) quota = CPU_QUOTA_US_MIN;
  snprintf(text, sizeof text, "%llu %d", (unsigned long long)quota, CPU_PERIOD_US);
  snprintf(expected, sizeof expected, "%s\n", text);
  int error = write_group(&zone->group, "cpu.max", text);
  return error ? error : strcmp(read_group(&zone->group, "cpu.max"), expected) ? EIO : 0;
}

static int limit_number(const struct zone *zone, const char *name, uint64_t value, uint64_t unit) {
  uint64_t holds;
  int error = set_number(&zone->group, name, value, &holds);
  return error ? error : holds != value / unit * unit ? EIO : 0;
}

/* Applies those limits that are lower than the ones of the zone. Memory is the last: below its usage the kernel ends the zone. */
static int lower_zone(struct zone *zone, const struct bounds *to) {
  struct bounds *has = &zone->bounds;
  int tasks = to->processes < has->processes ? limit_number(zone, "pids.max", to->processes, 1) : 0;
  if (!tasks && to->processes < has->processes) has->processes = to->processes;
  int cpu = to->cpu < has->cpu ? limit_cpu(zone, to->cpu) : 0;
  if (!cpu && to->cpu < has->cpu) has->cpu = to->cpu;
  int memory = to->memory < has->memory ? limit_number(zone, "memory.max", to->memory, PAGE_BYTES) : 0;
  if (!memory && to->memory < has->memory) has->memory = to->memory;
  return tasks ? tasks : cpu ? cpu : memory;
}

/* ---- zones ---- */

static struct zone *find_zone(uint32_t id) {
  for (int i = 0; id != 0 && i < ZONES_MAX; i++)
    if (zones[i].id == id) return &zones[i];
  return NULL;
}

static uint32_t id_of(const struct zone *zone) { return zone ? zone->id : 0; }
static const struct group *group_of(const struct zone *zone) { return zone ? &zone->group : &job; }

static void name_zone(uint32_t id, char name[GROUP_NAME_BYTES_MAX]) { snprintf(name, GROUP_NAME_BYTES_MAX, "z%u", id); }

/* Zone of a process of the job: *zone, or null for the rest of the job. Returns 0 or an errno. */
static int zone_of(pid_t pid, struct zone **zone) {
  char line[128];
  *zone = NULL;
  if (!read_cgroup(pid, line, sizeof line)) return ESRCH;
  if (!strcmp(line, "0::/job/own")) return 0;
  const char *last = strrchr(line, 'z');
  *zone = last ? find_zone((uint32_t)strtoul(last + 1, NULL, 10)) : NULL;
  return *zone ? 0 : ENOENT;
}

static int is_within(const struct zone *zone, int rule) {
  for (; zone; zone = zone->outer)
    if (zone->rule == rule) return 1;
  return 0;
}

static int move_to(const struct zone *zone, pid_t pid) {
  char text[16];
  struct zone *found;
  snprintf(text, sizeof text, "%d", (int)pid);
  const struct group leaf = {zone->group.leaf, -1};
  int error = write_group(&leaf, "cgroup.procs", text);
  if (!error) error = zone_of(pid, &found);
  return error ? error : found != zone ? EIO : 0;
}

static int end_zone(struct zone *zone) {
  zone->is_ending = 1;
  return write_group(&zone->group, "cgroup.kill", "1");
}

static void remove_zone(struct zone *zone) {
  char name[GROUP_NAME_BYTES_MAX];
  name_zone(zone->id, name);
  if (zone->events >= 0) close(zone->events);
  remove_group(group_of(zone->outer), name, &zone->group);
  zone->id = 0;
}

static int make_zone(struct zone *zone, int rule, struct zone *outer) {
  char name[GROUP_NAME_BYTES_MAX];
  *zone = (struct zone){.rule = rule, .outer = outer, .depth = outer ? outer->depth + 1 : 0, .events = -1};
  zone->bounds = (struct bounds){UINT64_MAX, UINT32_MAX, UINT32_MAX};
  name_zone(made + 1, name);
  int error = make_group(group_of(outer), name, &zone->group);
  if (error) return error;
  zone->id = ++made;
  zone->events = openat(zone->group.folder, "cgroup.events", O_RDONLY | O_CLOEXEC);
  error = zone->events < 0 ? errno : lower_zone(zone, &initial[rule]);
  if (error) remove_zone(zone);
  return error;
}

/* ---- reports ---- */

static void begin_report(uint8_t what, uint32_t zone) {
  begin(ZONE);
  put_u8(what);
  put_u32(zone);
}

static void put_end_of(const char *path) {
  size_t length = strlen(path);
  put_text(length > SEEN_TEXT_BYTES_MAX ? path + length - SEEN_TEXT_BYTES_MAX : path);
}

static void report_begin(const struct zone *zone, const char *path) {
  begin_report(ZONE_BEGAN, zone->id);
  put_u8((uint8_t)zone->rule);
  put_u32(id_of(zone->outer));
  put_end_of(path);
  finish();
}

static void report_refusal(int rule, const struct zone *outer, const char *path, int error) {
  if (refused >= ZONE_REFUSALS_MAX) return;
  refused++;
  begin_report(ZONE_REFUSED, 0);
  put_u8((uint8_t)rule);
  put_u32(id_of(outer));
  put_u16((uint16_t)error);
  put_end_of(path);
  finish();
}

/* True if its memory limit, or that of a zone around it, ended it. */
static int was_full(const struct zone *zone) {
  for (; zone; zone = zone->outer) {
    const char *line = strstr(read_group(&zone->group, "memory.events.local"), "oom_group_kill ");
    if (line && strtoull(line + strlen("oom_group_kill "), NULL, 10) > 0) return 1;
  }
  return 0;
}

static void report_end(struct zone *zone) {
  begin_report(ZONE_GONE, zone->id);
  put_u8(was_full(zone) ? 1 : 0);
  put_u64(strtoull(read_group(&zone->group, "memory.peak"), NULL, 10));
  finish();
  remove_zone(zone);
}

static int is_empty(const struct zone *zone) {
  char text[EVENTS_BYTES_MAX];
  ssize_t n = pread(zone->events, text, sizeof text - 1, 0);
  text[n > 0 ? n : 0] = 0;
  return strstr(text, "populated 0") != NULL;
}

/* Inner zones first: an outer one is removed once it has none. */
static void report_ends(void) {
  for (int depth = ZONE_DEPTH_MAX - 1; depth >= 0; depth--)
    for (int i = 0; i < ZONES_MAX; i++)
      if (zones[i].id != 0 && zones[i].depth == depth && has_room_for_event() && is_empty(&zones[i])) report_end(&zones[i]);
}

/* ---- execs ---- */

static struct zone *free_zone(void) {
  for (int i = 0; i < ZONES_MAX && made < ZONES_MADE_MAX; i++)
    if (zones[i].id == 0) return &zones[i];
  return NULL;
}

/* Starts a zone with the process in it. Returns 0 or an errno. */
static int start_zone(int rule, struct zone *outer, pid_t pid, const char *path) {
  struct zone *zone = free_zone();
  int is_too_deep = outer && outer->depth + 1 == ZONE_DEPTH_MAX;
  int error = is_too_deep ? ELOOP : zone ? make_zone(zone, rule, outer) : EAGAIN;
  if (!error) {
    report_begin(zone, path);
    error = move_to(zone, pid);
    if (error) end_zone(zone);
  } else {
    report_refusal(rule, outer, path, error);
  }
  return error;
}

static int path_of(int fd, char path[PATH_BYTES_MAX + 1]) {
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, PATH_BYTES_MAX);
  path[n > 0 ? n : 0] = 0;
  return n > 0 && n < PATH_BYTES_MAX;
}

/* Whether a process may execute a file, once it is in the zone that a rule asks for. */
static int may_execute(int fd, pid_t pid) {
  static char path[PATH_BYTES_MAX + 1];
  struct zone *zone;
  if (is_outside_group(pid)) return 1;
  if (!path_of(fd, path) || zone_of(pid, &zone) != 0 || (zone && zone->is_ending)) return 0;
  int rule = rule_of(path);
  if (rule < 0 || is_within(zone, rule)) return 1;
  return start_zone(rule, zone, pid, path) == 0;
}

/* Answers one exec; 0 if none waits. The answer for a process that was killed meanwhile fails, and needs none. */
static int answer_exec(void) {
  struct fanotify_event_metadata event;
  if (execs < 0 || read(execs, &event, sizeof event) != sizeof event) return 0;
  if (event.fd < 0) return 1;
  struct fanotify_response answer = {event.fd, FAN_DENY};
  if (event.mask & FAN_OPEN_EXEC_PERM && may_execute(event.fd, event.pid)) answer.response = FAN_ALLOW;
  if (write(execs, &answer, sizeof answer) < 0 && errno != ENOENT) end_agent(BROKEN_AGENT);
  close(event.fd);
  return 1;
}

void answer_execs(void) {
  for (int i = 0; i < EXECS_AT_ONCE && is_marked && has_room_for_event(); i++)
    if (!answer_exec()) return;
}

size_t poll_zones(struct pollfd *on) {
  size_t count = 0;
  if (!is_marked || !has_room_for_event()) return 0;
  on[count++] = (struct pollfd){.fd = execs, .events = POLLIN};
  for (int i = 0; i < ZONES_MAX; i++)
    if (zones[i].id != 0) on[count++] = (struct pollfd){.fd = zones[i].events, .events = POLLPRI};
  return count;
}

void serve_zones(void) {
  if (!is_marked) return;
  report_ends();
  answer_execs();
}

/* ---- frames ---- */

static int mark(unsigned how, const char *place) {
  return fanotify_mark(execs, how | FAN_MARK_MOUNT, FAN_OPEN_EXEC_PERM, AT_FDCWD, place) < 0 ? errno : 0;
}

void open_zones(void) {
  if (!divides_job()) return;
  unsigned flags = FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE;
  execs = fanotify_init(flags, O_RDONLY | O_CLOEXEC | O_LARGEFILE);
  if (execs < 0) return;
  if (mark(FAN_MARK_ADD, "/") == 0 && mark(FAN_MARK_REMOVE, "/") == 0) return;
  close(execs);
  execs = -1;
}

int can_zone(void) { return execs >= 0; }

/* Holds execs from now on. */
static int mark_places(void) {
  int error = can_zone() ? 0 : ENOSYS;
  for (int i = 0; i < PLACES_WITH_PROGRAMS && !error && !is_marked; i++) error = mark(FAN_MARK_ADD, places[i]);
  if (!error) is_marked = 1;
  return error;
}

static struct bounds take_bounds(struct reader *from) {
  struct bounds bounds;
  bounds.memory = take_u64(from);
  bounds.cpu = take_u32(from);
  bounds.processes = take_u32(from);
  return bounds;
}

static void answer(uint32_t nonce, int error) {
  begin(ZONED);
  put_u32(nonce);
  put_u16((uint16_t)error);
  finish();
}

void take_rule(struct reader *from) {
  char *names[ZONE_NAMES_MAX];
  uint32_t nonce = take_u32(from);
  struct bounds bounds = take_bounds(from);
  size_t count = take_u8(from);
  if (count == 0 || count > ZONE_NAMES_MAX) from->bad = 1;
  for (size_t i = 0; i < count && !from->bad; i++) names[i] = take_text(from, 1, ZONE_NAME_BYTES_MAX);
  if (!is_whole(from)) end_agent(BAD_PAYLOAD);
  int rule = count_rules();
  int error = can_zone() ? add_rule(names, count) : ENOSYS;
  if (!error) initial[rule] = bounds;
  answer(nonce, error ? error : mark_places());
}

void take_bound(struct reader *from) {
  uint32_t nonce = take_u32(from);
  struct zone *zone = find_zone(take_u32(from));
  struct bounds bounds = take_bounds(from);
  if (!is_whole(from)) end_agent(BAD_PAYLOAD);
  answer(nonce, zone && !zone->is_ending ? lower_zone(zone, &bounds) : ESRCH);
}

void take_finish(struct reader *from) {
  uint32_t nonce = take_u32(from);
  struct zone *zone = find_zone(take_u32(from));
  if (!is_whole(from)) end_agent(BAD_PAYLOAD);
  answer(nonce, zone ? end_zone(zone) : ESRCH);
}

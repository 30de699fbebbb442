/*
 * Problem: a job may have a lower memory limit than its machine, and the host's limit on the whole machine includes an allowance for
 * translated code and for the guest's page cache. Within that allowance a job could exceed its limit unnoticed.
 *
 * Mechanism: one cgroup (v2) for the runner and its descendants. Agent and carrier are outside of it. The limit is relative to the
 * memory in use at the claim, is read back after each write, and never raised. Above it the OOM killer ends all processes of the
 * cgroup at once (memory.oom.group), so that no part of a job continues. pids.max limits processes and threads in addition to
 * RLIMIT_NPROC: it applies across users, and 0 refuses the next fork.
 *
 * The runner is in a leaf of the job's cgroup (`own`), because zones of programs (zones.c) are cgroups beside it. Limits, freezing and
 * members of the job's cgroup include those of all cgroups below. OOM kills are counted in the leaf, which those of a zone do not
 * reach.
 *
 * The cgroup can be frozen (cgroup.freeze): none of its processes runs then, even with a pending signal, while agent and carrier
 * answer. A copy of the machine that is made in that state can be reseeded before any of its programs continues.
 *
 * Relies on: controllers that are not in use by cgroup v1. Debian's kernel has those for memory and pids, its user-mode kernel only
 * the latter.
 *
 * Not handled: root in the guest, which can raise the limit or leave the cgroup; the host's limit remains. Files on tmpfs count as
 * memory, so the host adds the size of the scratch.
 */
#define _GNU_SOURCE
#include "group.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "programs.h"
#include "zones.h"

enum { TEXT_BYTES_MAX = 1024 };
#define LEAF "own"
/* Largest value of pids.max. */
enum { TASKS_MAX = 4194304 };
/* Half a second in total: a process in a system call freezes when the call ends. */
enum { HOLD_WAITS = 100, HOLD_PAUSE_NS = 5000000 };

int is_held;
struct group job = {-1, -1};
static int has_memory, has_tasks, has_cpu;
static uint64_t idle, limit = UINT64_MAX, tasks_limit = UINT64_MAX;
/* Cgroups with processes of the job: its own, and those of zones. */
static const struct group *groups[GROUPS_MAX];

static int write_text(int folder, const char *name, const char *text) {
  int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ssize_t n = write(fd, text, strlen(text));
  int error = n < 0 ? errno : 0;
  close(fd);
  return error;
}

static const char *read_text(int folder, const char *name) {
  static char text[TEXT_BYTES_MAX];
  int fd = folder < 0 ? -1 : openat(folder, name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = 0;
  return text;
}

int write_group(const struct group *group, const char *name, const char *text) { return write_text(group->folder, name, text); }
const char *read_group(const struct group *group, const char *name) { return read_text(group->folder, name); }

/* ---- cgroups ---- */

static int make_folder(int outer, const char *name, int *made) {
  if (mkdirat(outer, name, 0700) < 0) return errno;
  *made = openat(outer, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return *made < 0 ? errno : 0;
}

static void let_go(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* Enables the controllers of the job for the cgroups below, so that each of them can be limited. */
static int enable_below(int folder) {
  int error = has_memory ? write_text(folder, "cgroup.subtree_control", "+memory") : 0;
  if (!error && has_tasks) error = write_text(folder, "cgroup.subtree_control", "+pids");
  return !error && has_cpu ? write_text(folder, "cgroup.subtree_control", "+cpu") : error;
}

static int fill_group(struct group *made) {
  int error = has_memory ? write_text(made->folder, "memory.oom.group", "1") : 0;
  if (!error) error = enable_below(made->folder);
  return error ? error : make_folder(made->folder, LEAF, &made->leaf);
}

/* Lists a cgroup as one with processes; ENOSPC beyond their number. */
static int list_group(const struct group *made) {
  for (int i = 0; i < GROUPS_MAX; i++)
    if (!groups[i]) {
      groups[i] = made;
      return 0;
    }
  return ENOSPC;
}

static int make_in(int outer, const char *name, struct group *made) {
  *made = (struct group){-1, -1};
  int error = make_folder(outer, name, &made->folder);
  if (!error) error = fill_group(made);
  if (!error) error = list_group(made);
  if (!error) return 0;
  if (made->folder >= 0) unlinkat(made->folder, LEAF, AT_REMOVEDIR);
  unlinkat(outer, name, AT_REMOVEDIR);
  let_go(&made->leaf);
  let_go(&made->folder);
  return error;
}

int make_group(const struct group *outer, const char *name, struct group *made) { return make_in(outer->folder, name, made); }

int remove_group(const struct group *outer, const char *name, struct group *made) {
  int error = unlinkat(made->folder, LEAF, AT_REMOVEDIR) < 0 ? errno : 0;
  if (unlinkat(outer->folder, name, AT_REMOVEDIR) < 0 && !error) error = errno;
  let_go(&made->leaf);
  let_go(&made->folder);
  for (int i = 0; i < GROUPS_MAX; i++)
    if (groups[i] == made) groups[i] = NULL;
  return error;
}

int set_number(const struct group *group, const char *name, uint64_t value, uint64_t *holds) {
  char text[32];
  snprintf(text, sizeof text, "%llu", (unsigned long long)value);
  int error = write_group(group, name, text);
  *holds = strtoull(read_group(group, name), NULL, 10);
  return error;
}

/* ---- the job ---- */

/* Descriptor of cgroup.procs of the leaf, or -1 without a cgroup. */
static int make_job(void) {
  if (mount("cgroup2", GROUPS_FOLDER, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return -1;
  int top = open(GROUPS_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (top < 0) return -1;
  has_memory = write_text(top, "cgroup.subtree_control", "+memory") == 0;
  has_tasks = write_text(top, "cgroup.subtree_control", "+pids") == 0;
  has_cpu = write_text(top, "cgroup.subtree_control", "+cpu") == 0;
  int error = make_in(top, "job", &job);
  close(top);
  return error ? -1 : openat(job.leaf, "cgroup.procs", O_WRONLY | O_CLOEXEC);
}

int open_group(void) {
  int members = make_job();
  if (members < 0) members = open("/dev/null", O_WRONLY | O_CLOEXEC);
  return members >= 0 && add_descriptor("group", members);
}

int counts_memory(void) { return job.folder >= 0 && has_memory; }
int counts_tasks(void) { return job.folder >= 0 && has_tasks; }

int divides_job(void) {
  return counts_memory() && has_tasks && has_cpu && faccessat(job.folder, "cgroup.kill", W_OK, 0) == 0 &&
         faccessat(job.folder, "cpu.max", W_OK, 0) == 0;
}

int limit_memory(uint64_t bytes) {
  uint64_t holds;
  if (!counts_memory()) return ENOSYS;
  if (limit == UINT64_MAX) idle = memory_in_use();
  if (bytes >= UINT64_MAX - idle) return EINVAL;
  if (idle + bytes < limit) limit = idle + bytes;
  int error = set_number(&job, "memory.max", limit, &holds);
  /* The kernel rounds down to pages. */
  return error ? error : (holds == 0 && limit >= 4096) || holds > limit ? EIO : 0;
}

int limit_tasks(uint64_t count) {
  uint64_t holds;
  if (!counts_tasks()) return 0;
  if (count < tasks_limit) tasks_limit = count;
  if (tasks_limit > TASKS_MAX) return 0;
  int error = set_number(&job, "pids.max", tasks_limit, &holds);
  return error ? error : holds != tasks_limit ? EIO : 0;
}

/* A line is a pid; the last one of a read may be incomplete, so it is read again. */
static int for_processes(int leaf, int (*holds)(pid_t pid)) {
  char text[TEXT_BYTES_MAX];
  int fd = openat(leaf, "cgroup.procs", O_RDONLY | O_CLOEXEC), error = 0;
  pid_t pid = 0;
  if (fd < 0) return errno;
  for (ssize_t n; !error && (n = read(fd, text, sizeof text)) > 0;)
    for (ssize_t i = 0; i < n && !error; i++) {
      if (text[i] != '\n') {
        pid = pid * 10 + (text[i] - '0');
        continue;
      }
      error = holds(pid);
      if (error == ESRCH) error = 0;
      pid = 0;
    }
  close(fd);
  return error;
}

/* No process changes its cgroup meanwhile: only the agent moves them. */
int for_members(int (*holds)(pid_t pid)) {
  int error = 0;
  for (int i = 0; i < GROUPS_MAX && !error; i++)
    if (groups[i]) error = for_processes(groups[i]->leaf, holds);
  return error;
}

uint64_t memory_in_use(void) { return strtoull(read_group(&job, "memory.current"), NULL, 10); }

int open_memory_events(void) { return job.leaf < 0 ? -1 : openat(job.leaf, "memory.events", O_RDONLY | O_CLOEXEC); }

uint64_t kills_in(int events) {
  char text[TEXT_BYTES_MAX];
  ssize_t n = pread(events, text, sizeof text - 1, 0);
  text[n > 0 ? n : 0] = 0;
  const char *line = strstr(text, "oom_kill ");
  return line ? strtoull(line + strlen("oom_kill "), NULL, 10) : 0;
}

uint64_t memory_kills(void) {
  const char *line = strstr(read_text(job.leaf, "memory.events"), "oom_kill ");
  return line ? strtoull(line + strlen("oom_kill "), NULL, 10) : 0;
}

/*
 * Since Linux 6.11 pids.events.local of the job's cgroup has refusals by its own limit, without those of a zone. Before, pids.events of
 * the leaf has those of its processes.
 */
uint64_t task_refusals(void) {
  const char *text = read_text(job.folder, "pids.events.local");
  if (!text[0]) text = read_text(job.leaf, "pids.events");
  const char *line = strstr(text, "max ");
  return line ? strtoull(line + strlen("max "), NULL, 10) : 0;
}

uint32_t tasks_in_use(void) { return (uint32_t)strtoul(read_text(job.folder, "pids.current"), NULL, 10); }

/* Linux 6.1. */
uint32_t tasks_peak(void) { return (uint32_t)strtoul(read_text(job.folder, "pids.peak"), NULL, 10); }

static int hold(int on) {
  const struct timespec pause = {0, HOLD_PAUSE_NS};
  if (job.folder < 0) return ENOSYS;
  int error = write_group(&job, "cgroup.freeze", on ? "1" : "0");
  for (int i = 0; i < HOLD_WAITS && !error; i++) {
    if (strstr(read_group(&job, "cgroup.events"), on ? "frozen 1" : "frozen 0")) return 0;
    /* A process that waits for the answer to its exec does not freeze. */
    answer_execs();
    nanosleep(&pause, NULL);
  }
  if (on) write_group(&job, "cgroup.freeze", "0");
  return error ? error : EAGAIN;
}

void take_hold(struct reader *from) {
  uint32_t nonce = take_u32(from);
  uint8_t on = take_u8(from);
  if (!is_whole(from) || on > 1) end_agent(BAD_PAYLOAD);
  int error = hold(on);
  is_held = on && !error;
  begin(HELD);
  put_u32(nonce);
  put_u16((uint16_t)error);
  finish();
}

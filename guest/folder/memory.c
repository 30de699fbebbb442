/*
 * The limit of the wall's memory, sampled from /proc.
 *
 * Problem. Forked processes share pages, and each counts them as its own. Dividing them by their users takes a walk over the page
 * tables under a lock of the process that is read, which a hostile process can make as long as it likes.
 *
 * Mechanism. A first sum counts pages whole, without that lock. If it is over the limit, a forked helper takes the proportional
 * sum; this process goes on with calls, and kills a helper that is late or stopped. The command ends if two sums of helpers in
 * turn are over, because processes come and go while they are read, or once looks without a sum below the limit have taken
 * OVER_MS_MAX: the command can stop or kill helpers, and take their descriptors and the room for their processes away, but a
 * machine may have no room for a moment as well. A process that is over the limit alone, by memory that is not shared, ends it at
 * once. A sum in which a file could not be opened, for another reason than the end of its process, or was cut, is over.
 *
 * Pages: anonymous ones, swapped ones, page tables, and shared memory, as far as processes have it mapped, with all of the scratch
 * folders. Processes that have the same shared memory mapped count it each, but all of it is no more than this machine has.
 *
 * Relies on proc(5): the files of a process tell no memory once its first thread has exited, those of its other threads do. The
 * line Shmem of /proc/meminfo has shared mappings and files in tmpfs of all processes, without those swapped out.
 *
 * Not handled: bursts between two sums; pages of processes that fork or exit while the helper reads others, which stops too short to
 * be seen prolong; shared memory that no process has mapped now, or that is swapped out.
 */
#define _GNU_SOURCE
#include "memory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "folder.h"
#include "reports.h"

/* The helper counts processes as whole after SHARES_MS_MAX, and is late after HELPER_MS_MAX. */
enum { CHECK_MS = 250, AGAIN_MS = 50, SHARES_MS_MAX = 1000, HELPER_MS_MAX = 1500, OVER_MS_MAX = 2 * HELPER_MS_MAX };
enum { FILE_BYTES = 300, LOOKS_MAX = 8, MEMINFO_BYTES = 8192 };
/* A status file has the groups of its user, 65,536 at most, before the memory. */
enum { STATUS_BYTES = 1 << 20 };

/* Memory of a process in bytes. `own`: anonymous and swapped pages, and page tables. `shared`: mapped shared memory. */
struct memory {
  uint64_t own, shared, tables;
};

static struct {
  pid_t pid;
  int answer;
  int64_t until;
} helper = {.answer = -1};
static int was_over;
/* A file of the sum could not be opened though its process may live, or was cut. */
static int is_broken;
static int64_t began_ms, next_ms;
/* Time of the looks in turn that told no sum below the limit. */
static int64_t over_ms;

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- one process ---- */

static void note_failure(void) {
  if (errno != ENOENT && errno != ESRCH && errno != EACCES) is_broken = 1;
}

static int read_text(const char *name, char *text, size_t size) {
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    note_failure();
    return 0;
  }
  ssize_t n = read(fd, text, size - 1);
  close(fd);
  if (n < 0) return 0;
  if (n == (ssize_t)size - 1) is_broken = 1;
  text[n] = 0;
  return 1;
}

/* Bytes of a line such as "\nVmSwap:", which has them in kB; 0 without it. */
static uint64_t bytes_in(const char *text, const char *line) {
  const char *at = strstr(text, line);
  return at ? strtoull(at + strlen(line), NULL, 10) * 1024 : 0;
}

/* Memory of a task; all 0 once it has exited. A living one has page tables. */
static struct memory task_memory(const char *task) {
  static char text[STATUS_BYTES];
  char name[FILE_BYTES + sizeof "/status"];
  struct memory of = {0, 0, 0};
  snprintf(name, sizeof name, "%s/status", task);
  if (!read_text(name, text, sizeof text)) return of;
  of.tables = bytes_in(text, "\nVmPTE:");
  of.own = bytes_in(text, "\nRssAnon:") + bytes_in(text, "\nVmSwap:") + of.tables;
  of.shared = bytes_in(text, "\nRssShmem:");
  return of;
}

/* The same of a thread besides the first; `task` becomes its folder. Sets `seen` if there is such a thread. */
static struct memory other_thread_memory(const char *pid, char *task, int *seen) {
  char folder[32];
  struct memory of = {0, 0, 0};
  snprintf(folder, sizeof folder, "/proc/%.10s/task", pid);
  DIR *open = opendir(folder);
  if (!open) note_failure();
  for (struct dirent *one; !of.own && open && (one = readdir(open));) {
    if (*one->d_name == '.' || !strcmp(one->d_name, pid)) continue;
    *seen = 1;
    snprintf(task, FILE_BYTES, "%s/%.10s", folder, one->d_name);
    of = task_memory(task);
  }
  if (open) closedir(open);
  return of;
}

/* Memory of a process, and the folder of a thread that tells it. Threads may exit while they are looked at. */
static struct memory process_memory(const char *pid, char *task) {
  snprintf(task, FILE_BYTES, "/proc/%.10s", pid);
  struct memory of = task_memory(task);
  int seen = 1;
  for (int look = 0; !of.own && seen && look < LOOKS_MAX; look++) {
    seen = 0;
    of = other_thread_memory(pid, task, &seen);
  }
  return of;
}

/*
 * True if its memory is that of its parent, as between vfork(2) and exec: pages of both count once, as the parent's. A parent
 * whose first thread has exited is none; kcmp(2) would compare nothing with nothing. False on a kernel without kcmp.
 */
static int has_memory_of_parent(const char *task) {
  char name[FILE_BYTES + sizeof "/stat"], text[1024];
  int parent = 0;
  snprintf(name, sizeof name, "%s/stat", task);
  const char *end = read_text(name, text, sizeof text) ? strrchr(text, ')') : NULL;
  if (!end || sscanf(end, ") %*c %d", &parent) != 1 || parent <= 1) return 0;
  if (syscall(SYS_kcmp, atoi(strrchr(task, '/') + 1), parent, KCMP_VM, 0, 0)) return 0;
  snprintf(name, sizeof name, "/proc/%d", parent);
  return task_memory(name).own > 0;
}

/* The same with each page divided by the number of processes that have it; as it is if that is not known. */
static struct memory proportional_memory(const char *pid, char *task, struct memory of) {
  char name[FILE_BYTES + sizeof "/smaps_rollup"], text[4096];
  if (has_memory_of_parent(task)) return (struct memory){0, 0, 0};
  snprintf(name, sizeof name, "%s/smaps_rollup", task);
  /* A process that is gone has no bytes by now. A kernel may lack this file. */
  if (!read_text(name, text, sizeof text)) return process_memory(pid, task);
  if (!strstr(text, "\nPss_Anon:")) return of;
  uint64_t own = bytes_in(text, "\nPss_Anon:") + bytes_in(text, "\nSwapPss:") + of.tables;
  uint64_t shared = bytes_in(text, "\nPss_Shmem:");
  if (own < of.own) of.own = own;
  if (shared < of.shared) of.shared = shared;
  return of;
}

/* ---- all processes ---- */

static uint64_t scratch_bytes(void) {
  struct statvfs scratch;
  if (statvfs("/dev/shm", &scratch)) return 0;
  return (uint64_t)(scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize;
}

/* The most that shared memory of the wall can be: all of this machine, and what of the scratch may be swapped out. */
static uint64_t shared_bytes_max(uint64_t scratch) {
  char text[MEMINFO_BYTES];
  if (!read_text("/proc/meminfo", text, sizeof text) || !strstr(text, "\nShmem:")) return UINT64_MAX;
  uint64_t swapped = bytes_in(text, "\nSwapTotal:") - bytes_in(text, "\nSwapFree:");
  return bytes_in(text, "\nShmem:") + (swapped < scratch ? swapped : scratch);
}

/*
 * Processes that a proportional sum has not reached by `shares_until` count as whole. `largest`: of one process, without what it
 * shares. UINT64_MAX if a file could not be opened, or was cut.
 */
static uint64_t wall_bytes(int64_t shares_until, uint64_t *largest) {
  char task[FILE_BYTES];
  uint64_t own = 0, shared = 0;
  DIR *open = opendir("/proc");
  *largest = 0;
  is_broken = !open;
  for (struct dirent *one; open && (one = readdir(open));) {
    if (*one->d_name < '1' || *one->d_name > '9') continue;
    struct memory of = process_memory(one->d_name, task);
    if (of.own > *largest) *largest = of.own;
    if (of.own > 0 && now_ms() < shares_until) of = proportional_memory(one->d_name, task, of);
    own += of.own;
    shared += of.shared;
  }
  if (open) closedir(open);
  uint64_t scratch = scratch_bytes(), shared_max = shared_bytes_max(scratch);
  shared += scratch;
  return is_broken ? UINT64_MAX : own + (shared < shared_max ? shared : shared_max);
}

static _Noreturn void end_by_memory(void) {
  send_report("{\"kind\":\"limit\",\"limit\":\"memory\"}\n");
  _exit(128 + SIGKILL);
}

static void note_below(void) {
  int64_t now = now_ms(), cost = now - began_ms;
  was_over = 0;
  over_ms = 0;
  next_ms = now + (cost > CHECK_MS ? cost : CHECK_MS);
}

/* A look that began with a whole sum over the limit. `is_sum`: a helper has told one too; else there was none, or it was late. */
static void note_over(int is_sum) {
  int64_t now = now_ms(), took = now - began_ms;
  if (is_sum && was_over) end_by_memory();
  if (is_sum) was_over = 1;
  /* A stop of this process, and with it of the command, counts as one late helper. */
  over_ms += (took < HELPER_MS_MAX ? took : HELPER_MS_MAX) + AGAIN_MS;
  next_ms = now + AGAIN_MS;
}

/* ---- helper ---- */

static _Noreturn void answer_sum(int to) {
  sigset_t all;
  uint64_t largest;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  /* Sockets of connects under way would stay open here. */
  syscall(SYS_close_range, to + 1, ~0U, 0);
  if (to > 3) syscall(SYS_close_range, 3, to - 1, 0);
  uint64_t bytes = wall_bytes(now_ms() + SHARES_MS_MAX, &largest);
  if (bytes == UINT64_MAX) _exit(1);
  _exit(write(to, &bytes, sizeof bytes) != (ssize_t)sizeof bytes);
}

/* Returns 0 if there is none: its process is not reaped yet, or the machine has no room for it. */
static int start_helper(void) {
  int ends[2];
  if (helper.pid || pipe2(ends, O_CLOEXEC | O_NONBLOCK)) return 0;
  pid_t pid = fork();
  if (pid == 0) answer_sum(ends[1]);
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return 0;
  }
  helper.pid = pid;
  helper.answer = ends[0];
  helper.until = now_ms() + HELPER_MS_MAX;
  return 1;
}

/* A helper without an answer is late, could not open a file, or was killed. */
static void take_answer(void) {
  uint64_t bytes = 0;
  ssize_t n = read(helper.answer, &bytes, sizeof bytes);
  if (n < 0 && now_ms() < helper.until) return;
  close(helper.answer);
  helper.answer = -1;
  if (helper.pid) kill(helper.pid, SIGKILL);
  int is_sum = n == (ssize_t)sizeof bytes;
  if (is_sum && bytes <= options.memory_bytes) note_below();
  else note_over(is_sum);
}

void check_memory(void) {
  uint64_t largest;
  if (!options.memory_bytes) return;
  if (helper.answer >= 0) return take_answer();
  if (now_ms() < next_ms) return;
  began_ms = now_ms();
  int is_over = wall_bytes(0, &largest) > options.memory_bytes;
  if (largest > options.memory_bytes) end_by_memory();
  if (!is_over) return note_below();
  if (over_ms >= OVER_MS_MAX) end_by_memory();
  if (!start_helper()) note_over(0);
}

int memory_wait_ms(void) {
  if (!options.memory_bytes) return -1;
  int64_t wait = (helper.answer >= 0 ? helper.until : next_ms) - now_ms();
  return wait > 0 ? (int)wait : 0;
}

int memory_answer_fd(void) { return helper.answer; }

int is_memory_helper(pid_t pid) { return pid > 0 && helper.pid == pid; }

/* Processes could fork and exit while it is stopped, and so be in no sum. */
void memory_helper_stopped(pid_t pid) {
  if (is_memory_helper(pid)) kill(pid, SIGKILL);
}

void memory_helper_exited(pid_t pid) {
  if (helper.pid == pid) helper.pid = 0;
}

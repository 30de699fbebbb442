/*
 * The limit of the wall's memory, sampled from /proc.
 *
 * Problem. Forked processes share pages, and each counts them as its own. Dividing them by their users takes a walk over the page
 * tables under a lock of the process that is read, which a hostile process can make as long as it likes.
 *
 * Mechanism. A first sum counts pages whole, without a lock. If it is over the limit, a forked helper takes the proportional sum;
 * this process goes on with calls, and kills a helper that is late. The command ends if two sums in turn are over, because
 * processes come and go while they are read, or if two helpers in turn give no answer. A process that is over the limit alone ends it at once. A sum
 * in which a file could not be opened for another reason than the end of its process is over: the command can take the helper's descriptors away.
 *
 * Relies on proc(5): the files of a process are empty once its first thread has exited, those of its other threads are not.
 *
 * Not handled: bursts between two sums; pages of processes that fork or exit while the helper reads others, for which the command may stop it.
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
enum { CHECK_MS = 250, AGAIN_MS = 50, SHARES_MS_MAX = 1000, HELPER_MS_MAX = 1500, FILE_BYTES = 300, LOOKS_MAX = 8, MISSES_MAX = 2 };

static struct {
  pid_t pid;
  int answer;
  int64_t until;
} helper = {.answer = -1};
static int was_over, misses;
/* A file of the sum could not be opened though its process may live. */
static int is_broken;
static int64_t began_ms, next_ms;

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
  text[n] = 0;
  return 1;
}

/* Anonymous memory of a task in bytes: its RSS without file-backed and shared pages. */
static uint64_t task_bytes(const char *task) {
  char name[FILE_BYTES + sizeof "/statm"], text[128];
  unsigned long total, resident, shared;
  snprintf(name, sizeof name, "%s/statm", task);
  if (!read_text(name, text, sizeof text)) return 0;
  if (sscanf(text, "%lu %lu %lu", &total, &resident, &shared) != 3 || shared > resident) return 0;
  return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The same of a thread besides the first; `task` becomes its folder. Sets `seen` if there is such a thread. */
static uint64_t other_thread_bytes(const char *pid, char *task, int *seen) {
  char folder[32];
  uint64_t bytes = 0;
  snprintf(folder, sizeof folder, "/proc/%.10s/task", pid);
  DIR *open = opendir(folder);
  if (!open) note_failure();
  for (struct dirent *one; !bytes && open && (one = readdir(open));) {
    if (*one->d_name == '.' || !strcmp(one->d_name, pid)) continue;
    *seen = 1;
    snprintf(task, FILE_BYTES, "%s/%.10s", folder, one->d_name);
    bytes = task_bytes(task);
  }
  if (open) closedir(open);
  return bytes;
}

/* Anonymous memory of a process, and the folder of a thread that tells it. Threads may exit while they are looked at. */
static uint64_t private_bytes(const char *pid, char *task) {
  snprintf(task, FILE_BYTES, "/proc/%.10s", pid);
  uint64_t bytes = task_bytes(task);
  int seen = 1;
  for (int look = 0; !bytes && seen && look < LOOKS_MAX; look++) {
    seen = 0;
    bytes = other_thread_bytes(pid, task, &seen);
  }
  return bytes;
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
  return task_bytes(name) > 0;
}

/* The same with each page divided by the number of processes that map it; `whole` if it is not known. */
static uint64_t proportional_bytes(const char *pid, char *task, uint64_t whole) {
  char name[FILE_BYTES + sizeof "/smaps_rollup"], text[4096];
  unsigned long kilobytes;
  if (has_memory_of_parent(task)) return 0;
  snprintf(name, sizeof name, "%s/smaps_rollup", task);
  /* A process that is gone has no bytes by now. A kernel may lack this file. */
  if (!read_text(name, text, sizeof text)) return private_bytes(pid, task);
  const char *line = strstr(text, "\nPss_Anon:");
  if (!line || sscanf(line, "\nPss_Anon: %lu kB", &kilobytes) != 1) return whole;
  uint64_t bytes = (uint64_t)kilobytes * 1024;
  return bytes < whole ? bytes : whole;
}

/* ---- all processes ---- */

/* Processes that a proportional sum has not reached by `shares_until` count as whole. `largest`: of one process. UINT64_MAX if a file could not be opened. */
static uint64_t wall_bytes(int64_t shares_until, uint64_t *largest) {
  struct statvfs scratch;
  char task[FILE_BYTES];
  uint64_t bytes = 0;
  DIR *open = opendir("/proc");
  *largest = 0;
  is_broken = !open;
  for (struct dirent *one; open && (one = readdir(open));) {
    if (*one->d_name < '1' || *one->d_name > '9') continue;
    uint64_t whole = private_bytes(one->d_name, task);
    if (whole > *largest) *largest = whole;
    bytes += whole > 0 && now_ms() < shares_until ? proportional_bytes(one->d_name, task, whole) : whole;
  }
  if (open) closedir(open);
  if (statvfs("/dev/shm", &scratch) == 0) bytes += (uint64_t)(scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize;
  return is_broken ? UINT64_MAX : bytes;
}

static _Noreturn void end_by_memory(void) {
  send_report("{\"kind\":\"limit\",\"limit\":\"memory\"}\n");
  _exit(128 + SIGKILL);
}

static void take_sum(int is_over) {
  if (is_over && was_over) end_by_memory();
  was_over = is_over;
  int64_t now = now_ms(), cost = now - began_ms;
  next_ms = now + (is_over ? AGAIN_MS : cost > CHECK_MS ? cost : CHECK_MS);
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
  _exit(write(to, &bytes, sizeof bytes) != sizeof bytes);
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

/* A helper without an answer is late, or was killed or stopped by a process of the wall. */
static void take_answer(void) {
  uint64_t bytes = 0;
  ssize_t n = read(helper.answer, &bytes, sizeof bytes);
  if (n < 0 && now_ms() < helper.until) return;
  close(helper.answer);
  helper.answer = -1;
  if (helper.pid) kill(helper.pid, SIGKILL);
  misses = n == sizeof bytes ? 0 : misses + 1;
  if (misses >= MISSES_MAX) end_by_memory();
  if (misses) next_ms = now_ms() + AGAIN_MS;
  else take_sum(bytes > options.memory_bytes);
}

void check_memory(void) {
  uint64_t largest;
  if (!options.memory_bytes) return;
  if (helper.answer >= 0) return take_answer();
  if (now_ms() < next_ms) return;
  began_ms = now_ms();
  int is_over = wall_bytes(0, &largest) > options.memory_bytes;
  if (largest > options.memory_bytes) end_by_memory();
  if (!is_over) misses = 0;
  if (!is_over || !start_helper()) take_sum(is_over);
}

int memory_wait_ms(void) {
  if (!options.memory_bytes) return -1;
  int64_t wait = (helper.answer >= 0 ? helper.until : next_ms) - now_ms();
  return wait > 0 ? (int)wait : 0;
}

int memory_answer_fd(void) { return helper.answer; }

int is_memory_helper(pid_t pid) { return pid > 0 && helper.pid == pid; }

void memory_helper_exited(pid_t pid) {
  if (helper.pid == pid) helper.pid = 0;
}

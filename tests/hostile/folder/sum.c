/*
 * Sums of memory in a folder's wall, over a folder like /proc that a test has written.
 *
 * sum FOLDER sums SCRATCH   prints the whole sum, the largest process and the proportional sum in bytes; -1 for one that is broken
 * sum FOLDER HOW LIMIT      looks until the command ends; HOW tells what becomes of each helper
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *folder;
static uint64_t scratch_used;
static pid_t (*start)(void);

/* ---- calls of the sum ---- */

static const char *played(const char *name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s%s", folder, name + strlen("/proc"));
  return path;
}

static int open_played(const char *name, int flags) { return open(played(name), flags); }

static DIR *list_played(const char *name) { return opendir(played(name)); }

static int measure_scratch(struct statvfs *to) {
  *to = (struct statvfs){.f_frsize = 1, .f_blocks = scratch_used};
  return 0;
}

#define open(name, flags) open_played(name, flags)
#define opendir(name) list_played(name)
#define statvfs(name, to) measure_scratch(to)
#define fork() start()
#include "../../../guest/folder/memory.c"
#undef open
#undef opendir
#undef statvfs
#undef fork

struct options options;

void send_report(const char *format, ...) { (void)format; }

/* ---- helpers ---- */

enum { TOLD_AFTER = 10, WITHOUT_MS = 1400, NEARLY_LATE_US = 1300000, STEP_MS = 10 };

static void tell(const char *what) {
  printf("%s\n", what);
  fflush(stdout);
}

/* A machine without room for a process; tells once it was asked for many. */
static pid_t start_none(void) {
  static int asked;
  if (++asked == TOLD_AFTER) tell("on");
  errno = EAGAIN;
  return -1;
}

/* There is room after WITHOUT_MS. Helpers are late, or nearly, in turn. */
static pid_t start_slowly(void) {
  static int64_t since;
  static int started;
  if (!since) since = now_ms();
  if (now_ms() - since < WITHOUT_MS) return start_none();
  since = 0;
  tell("helper");
  int is_late = started++ % 2 == 0;
  pid_t pid = fork();
  if (pid != 0) return pid;
  if (is_late) pause();
  usleep(NEARLY_LATE_US);
  return 0;
}

static pid_t start_stopped(void) {
  tell("helper");
  pid_t pid = fork();
  if (pid == 0) raise(SIGSTOP);
  return pid;
}

/* ---- modes ---- */

static void print_sums(void) {
  uint64_t largest, whole = wall_bytes(0, &largest), shares = wall_bytes(INT64_MAX, &largest);
  printf("%lld %lld %lld\n", (long long)whole, (long long)largest, (long long)shares);
}

static void look(void) {
  int status;
  pid_t pid;
  for (;;) {
    check_memory();
    struct pollfd answer = {.fd = memory_answer_fd(), .events = POLLIN};
    int wait = memory_wait_ms();
    poll(&answer, 1, wait < STEP_MS ? wait : STEP_MS);
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
      if (WIFSTOPPED(status)) memory_helper_stopped(pid);
      else memory_helper_exited(pid);
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  folder = argv[1];
  scratch_used = options.memory_bytes = strtoull(argv[3], NULL, 10);
  if (!strcmp(argv[2], "sums")) {
    print_sums();
    return 0;
  }
  scratch_used = 0;
  if (!strcmp(argv[2], "none")) start = start_none;
  if (!strcmp(argv[2], "slow")) start = start_slowly;
  if (!strcmp(argv[2], "stopped")) start = start_stopped;
  if (!start) return 2;
  look();
}

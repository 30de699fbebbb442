/* Programs that use more memory than a first look at /proc tells, or less. Sizes are for a limit of 256 MiB. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20, WAIT_S = 20 };

static char *fill(size_t mib) {
  char *at = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(at, 1, mib * MIB);
  return at;
}

static char *fill_shared(size_t mib) {
  char *at = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  memset(at, 1, mib * MIB);
  return at;
}

static void tell(const char *what) {
  printf("%s\n", what);
  fflush(stdout);
}

/* ---- the first thread exits ---- */

static void *fill_and_wait(void *unused) {
  (void)unused;
  sleep(1);
  fill(300);
  tell("filled");
  sleep(WAIT_S);
  _exit(0);
}

static void without_first_thread(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, fill_and_wait, NULL);
  syscall(SYS_exit, 0);
}

/* ---- the helper is stopped, or loses its descriptors ---- */

/* Pids of the next helpers are within HELPERS of the last one: nobody else starts a process here. */
enum { HELPERS = 8, SLEEPERS = 200 };

static void start_sleeper(size_t mib) {
  if (fork()) return;
  if (mib) fill(mib);
  sleep(WAIT_S);
  _exit(0);
}

/* Two processes that are over the limit together. Returns the first pid that a helper may have. */
static pid_t start_two(void) {
  start_sleeper(150);
  pid_t pid = fork();
  if (pid) return pid + 1;
  fill(150);
  sleep(WAIT_S);
  _exit(0);
}

static void stops_helper(void) {
  pid_t next = start_two();
  for (;;)
    for (pid_t pid = next; pid < next + HELPERS; pid++)
      if (!kill(pid, SIGSTOP)) next = pid;
}

/* The helper reads processes in the order of their pids: others first, so that it is not over the limit as it is hit. */
static void limits_helper(void) {
  struct rlimit none = {0, 0};
  for (int i = 0; i < SLEEPERS; i++) start_sleeper(0);
  pid_t next = start_two();
  for (;;)
    for (pid_t pid = next; pid < next + HELPERS; pid++) {
      if (prlimit(pid, RLIMIT_NOFILE, &none, NULL)) continue;
      next = pid + 1;
      tell("hit");
    }
}

/* ---- shared memory ---- */

static void in_shared_memory(void) {
  fill_shared(300);
  sleep(WAIT_S);
}

/* Each child has every page of the mapping in its page tables. */
static void shares_memory(void) {
  char *at = fill_shared(160);
  for (int i = 0; i < 2; i++) {
    if (fork()) continue;
    memset(at, 2, 160 * (size_t)MIB);
    sleep(3);
    _exit(0);
  }
  while (wait(NULL) > 0)
    ;
  tell("done");
}

/* ---- vfork ---- */

static int wait_a_moment(void *ms) {
  usleep(*(useconds_t *)ms * 1000);
  _exit(0);
}

/* A child that has the memory of its parent starts slowly. */
static void in_vfork(void) {
  static char stack[65536];
  useconds_t ms = 1000;
  int status;
  fill(160);
  for (int i = 0; i < 3; i++) {
    pid_t pid = clone(wait_a_moment, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &ms);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) return;
  }
  tell("done");
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  if (!strcmp(argv[1], "without_first_thread")) without_first_thread();
  if (!strcmp(argv[1], "stops_helper")) stops_helper();
  if (!strcmp(argv[1], "limits_helper")) limits_helper();
  if (!strcmp(argv[1], "in_shared_memory")) in_shared_memory();
  if (!strcmp(argv[1], "shares_memory")) shares_memory();
  if (!strcmp(argv[1], "in_vfork")) in_vfork();
  return 0;
}

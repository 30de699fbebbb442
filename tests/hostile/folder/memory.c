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

/* Two processes that are over the limit together. Returns the first pid that a helper may have. */
static pid_t start_two(void) {
  pid_t first = fork();
  if (first == 0) {
    fill(150);
    sleep(WAIT_S);
    _exit(0);
  }
  pid_t second = fork();
  if (second == 0) {
    fill(150);
    sleep(WAIT_S);
    _exit(0);
  }
  return second + 1;
}

static void stops_helper(void) {
  pid_t next = start_two();
  for (;;)
    for (pid_t pid = next; pid < next + 20; pid++) kill(pid, SIGSTOP);
}

static void limits_helper(void) {
  struct rlimit none = {0, 0};
  pid_t next = start_two();
  for (;;)
    for (pid_t pid = next; pid < next + 2000; pid++) {
      if (kill(pid, SIGSTOP)) continue;
      prlimit(pid, RLIMIT_NOFILE, &none, NULL);
      kill(pid, SIGCONT);
    }
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
    waitpid(pid, &status, 0);
  }
  tell("done");
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  if (!strcmp(argv[1], "without_first_thread")) without_first_thread();
  if (!strcmp(argv[1], "stops_helper")) stops_helper();
  if (!strcmp(argv[1], "limits_helper")) limits_helper();
  if (!strcmp(argv[1], "in_vfork")) in_vfork();
  return 0;
}

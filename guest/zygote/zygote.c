/*
 * The template of one kind of program: forks walls on request of the warden, in a warm interpreter (a zygote). A library
 * that the runner loads; in the template serve() never returns, in each child it returns once, behind the whole wall.
 *
 * Problem. Starting an interpreter and warming it up takes four times as long as building its wall. A wall is built in a
 * process that then becomes the program by exec, which would lose the warm interpreter.
 *
 * Mechanism. The child executes the same steps (../launcher/steps.c) from the same list, and hands its seccomp listener
 * over as `sentinel enter` does (../sentinel/enter.c). Processes of a wall, as by the launcher:
 *
 *   the warden ─┬─ template (this process, reads requests)
 *               └─ outermost (CLONE_PARENT: a child of the warden) ── init of the pid namespace ── program
 *
 * The warden reaps the outermost process, which has a parent-death signal of the warden, not of the template. No process reads
 * a byte of a job before the last step, only the warden's request. The program returns into the runner.
 *
 * Request: `u32` bytes of words, `u32` bytes of filters, `u32` serial, `u32` descriptors, a byte for each of those with its
 * number in the child, padded to 64 bytes; the descriptors come with it (SCM_RIGHTS). Then the words of the steps, each
 * with its NUL, and the filters. Answer: `u32` serial, `i32` pid or -errno.
 *
 * Relies on clone3(2) (Linux 5.3), close_range(2) (5.9), glibc's or musl's fork(2) for the program.
 *
 * Not handled: all children share the random values of one exec (address layout, stack canary, pointer guard, hash seed of
 * the interpreter); see THREAT_MODEL.md.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "../sentinel/enter.h"
#include "prove.h"

enum { REQUEST_FD = 5, SOCKET_FD = 5, HAND_OVER_FD = 8, LAST_FD = HAND_OVER_FD };
enum { DESCRIPTORS_MAX = 32, TARGET_MAX = 63, ASIDE = 128, WORDS_MAX = 4096, BODY_BYTES_MAX = 1 << 18 };
enum { RANDOM_BYTES = 16, NAME_BYTES = 16 };

struct request {
  uint32_t words, filters, serial, descriptors;
  uint8_t targets[48];
};

static struct request request;
static unsigned char body[BODY_BYTES_MAX] __attribute__((aligned(8)));
static int fds[DESCRIPTORS_MAX];

/* The warden closed the socket, or sent an invalid request. */
static _Noreturn void leave(void) { _exit(0); }

static void read_fully(void *to, size_t bytes) {
  for (size_t have = 0; have < bytes;) {
    ssize_t n = read(REQUEST_FD, (char *)to + have, bytes - have);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) leave();
    have += (size_t)n;
  }
}

static void receive_request(void) {
  union {
    char bytes[CMSG_SPACE(sizeof fds)];
    struct cmsghdr align;
  } ancillary;
  struct iovec part = {&request, sizeof request};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
  ssize_t n;
  do n = recvmsg(REQUEST_FD, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n <= 0 || message.msg_flags & MSG_CTRUNC) leave();
  if ((size_t)n < sizeof request) read_fully((char *)&request + n, sizeof request - (size_t)n);
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  size_t count = head && head->cmsg_type == SCM_RIGHTS ? (head->cmsg_len - CMSG_LEN(0)) / sizeof *fds : 0;
  if (count != request.descriptors || count > DESCRIPTORS_MAX) leave();
  if (count) memcpy(fds, CMSG_DATA(head), count * sizeof *fds);
  if ((size_t)request.words + request.filters > sizeof body || request.words == 0) leave();
  read_fully(body, (size_t)request.words + request.filters);
  if (body[request.words - 1] != 0) leave();
}

/* Moves the received descriptors to their numbers, and closes all others. */
static void place_descriptors(void) {
  for (uint32_t i = 0; i < request.descriptors; i++) {
    errno = EINVAL;
    must(request.targets[i] <= TARGET_MAX, "descriptor");
    fds[i] = fcntl(fds[i], F_DUPFD, ASIDE);
    must(fds[i] >= ASIDE, "descriptor");
  }
  must(syscall(SYS_close_range, 0, ASIDE - 1, 0) == 0, "descriptors");
  for (uint32_t i = 0; i < request.descriptors; i++) must(dup2(fds[i], request.targets[i]) >= 0, "descriptor");
  must(syscall(SYS_close_range, ASIDE, ~0U, 0) == 0, "descriptors");
}

/* Race: a warden that died before prctl(2) sends no death signal. Only the warden has the other end of this socket. */
static void die_with_warden(void) {
  must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "death signal");
  struct pollfd other = {.fd = SOCKET_FD};
  if (poll(&other, 1, 0) < 0 || other.revents & (POLLHUP | POLLERR | POLLNVAL)) _exit(1);
}

static void run_steps(void) {
  static char *words[WORDS_MAX];
  int count = 0;
  errno = E2BIG;
  for (char *at = (char *)body, *end = at + request.words; at < end; at += strlen(at) + 1) {
    must(count < WORDS_MAX, "words");
    words[count++] = at;
  }
  carry_out(words, count);
  if (request.filters > 0) hand_over(body + request.words, request.filters, 0);
}

/* Process 1 of the wall: reaps orphans, and exits with the program's status (128 + signal if it was killed). */
static _Noreturn void run_init(pid_t program) {
  prctl(PR_SET_NAME, "init");
  for (;;) {
    int status;
    pid_t ended = waitpid(-1, &status, 0);
    if (ended < 0 && errno != EINTR) _exit(1);
    if (ended == program) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}

/* AT_RANDOM seeds some libraries later. The stack canary, taken from it by libc at exec, stays the same. */
static void renew_random_bytes(void) {
  void *bytes = (void *)getauxval(AT_RANDOM);
  if (bytes) must(getrandom(bytes, RANDOM_BYTES, 0) == RANDOM_BYTES, "random bytes");
}

static void become_wall(void) {
  step_name = "fork";
  place_descriptors();
  die_with_warden();
  must(setsid() >= 0, "session");
  umask(022);
  run_steps();
  step_name = "fork";
  /* Before the fork: a program may read the memory of process 1. A longer earlier request leaves its tail in here too. */
  explicit_bzero(body, sizeof body);
  explicit_bzero(&request, sizeof request);
  explicit_bzero(fds, sizeof fds);
  pid_t program = fork();
  must(program >= 0, "the program");
  if (program > 0) run_init(program);
  prove();
  renew_random_bytes();
  must(syscall(SYS_close_range, LAST_FD, ~0U, 0) == 0, "descriptors");
  prctl(PR_SET_NAME, "python3");
}

/*
 * Called before anything is read: makes the template undumpable, so that only root may trace it. The process name contains the
 * pid, by which the warden tells its children from those of other templates.
 */
__attribute__((visibility("default"))) int hide(void) {
  char name[NAME_BYTES];
  snprintf(name, sizeof name, "mayfly-z%d", getpid());
  return prctl(PR_SET_NAME, name) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : -1;
}

__attribute__((visibility("default"))) void serve(void) {
  for (;;) {
    receive_request();
    struct clone_args how = {.flags = CLONE_PARENT};
    pid_t pid = (pid_t)syscall(SYS_clone3, &how, sizeof how);
    if (pid == 0) return become_wall();
    int32_t answer[] = {(int32_t)request.serial, pid < 0 ? -errno : pid};
    for (uint32_t i = 0; i < request.descriptors; i++) close(fds[i]);
    if (send(REQUEST_FD, answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer) leave();
  }
}

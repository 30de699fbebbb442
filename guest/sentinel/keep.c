/*
 * The keeper of a wall without namespaces: starts its first program, adopts all orphans of the wall, kills every process.
 *
 *   sentinel keep OPTION... -- STEP COUNT ARG... -- PATH ARGV0 [ARG...]
 *
 * Problem: without a PID namespace there is no process 1 whose end kills the others, and a program that forks, calls setsid(2)
 * and lets its parent exit (a daemon) escapes its group. No process of the wall may survive, in whatever order they die.
 *
 * Mechanism, in three parts:
 * - This process is the parent of the first program and a subreaper (PR_SET_CHILD_SUBREAPER), so each orphan of the wall
 *   becomes its child. waitpid(2) fails with ECHILD exactly when no process of the wall is left.
 * - A new process or thread is a request (forks.c). With the listener closed, the kernel fails each with ENOSYS, so the set
 *   of processes is finite, and is killed child by child. A child that was not reaped keeps its pid, so no signal hits
 *   another process. Children of a killed process become children here, and the loop continues.
 * - All processes of the wall carry a mark that they cannot remove: a hard limit (RLIMIT_LOCKS, which the kernel ignores
 *   since 2.4.25) that the fixed filter protects. If this process is killed, the warden finds them by the mark.
 *
 * Descriptors in flight are counted by user, and refused by the limit on open files of their sender: other walls of this user
 * can have as many in flight as their own limit permits. The child lowers its own only after it has sent its listener.
 *
 * The first program is a child, so that Yama (ptrace_scope 1) permits this process to trace it. The child executes the
 * steps of the launcher (../launcher/steps.c) and hands over its listener by SCM_RIGHTS: the default seccomp profile of
 * Docker refuses pidfd_getfd(2) and process_vm_readv(2).
 *
 * Relies on: PR_SET_CHILD_SUBREAPER (Linux 3.4), /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN), seccomp_unotify(2) on
 * a listener that is closed.
 *
 * Not handled: a process in uninterruptible sleep, for which waitpid(2) waits. The warden then reports a leftover process.
 */
#define _GNU_SOURCE
#include "keep.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "caller.h"
#include "enter.h"
#include "lines.h"
#include "paths.h"
#include "secrets.h"
#include "start.h"
#include "wall.h"

/* Descriptors passed by the warden. The child keeps those below HAND_OVER; HAND_OVER itself becomes its end of a socket pair. */
enum { HAND_OVER = 8, GIVEN_CONTROL = 8, GIVEN_CAPTURE = 9, FIRST_FREE = 16 };
enum { CHILDREN_LIST_BYTES = 8192, TASKS_MAX = 256, PASS_US = 200 };

int sigchld_fd = -1;
static int has_first_exited, exit_code;
static char children_file[64];

int parse_keeper_option(const char *word) {
  if (!wall.is_kept) return 0;
  /* Read before the options are (value_of_option). */
  if (!strncmp(word, "nofile=", 7)) return 1;
  if (!strcmp(word, "shared")) return wall.is_shared = 1;
  if (!strcmp(word, "unscoped")) return wall.is_unscoped = 1;
  if (!strncmp(word, "scratch=", 8)) {
    /* Canonical path: names of its files contain no symbolic link. */
    char name[64];
    int fd = open(word + 8, O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int failed = fd < 0 || link_to(name, wall.scratch_path, sizeof wall.scratch_path);
    if (fd >= 0) close(fd);
    return !failed;
  }
  return 0;
}

static _Noreturn void become_program(char **steps, int count, char **exec, int handover, char *files) {
  pid_t parent = getppid();
  sigset_t none;
  sigemptyset(&none);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent) _exit(1);
  unsigned char *filters;
  size_t bytes = read_filters(&filters);
  if (dup2(handover, HAND_OVER) < 0) cannot("hand over");
  /* The steps open /dev/null as the result descriptor, and close the rest at the exec. */
  syscall(SYS_close_range, HAND_OVER + 1, ~0U, 0);
  umask(022);
  carry_out(steps, count);
  hand_over(filters, bytes, 1);
  carry_out((char *[]){"limit", "2", "nofile", files}, 4);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execv(exec[0], exec + 1);
  cannot("become the program");
}

/* Closes the program's own descriptors here, so that their readers get EOF when the program closes them. */
static void rearrange_descriptors(int handover) {
  int control = fcntl(GIVEN_CONTROL, F_DUPFD_CLOEXEC, FIRST_FREE), capture = fcntl(GIVEN_CAPTURE, F_DUPFD_CLOEXEC, FIRST_FREE);
  int handed = fcntl(handover, F_DUPFD_CLOEXEC, FIRST_FREE), nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (control < 0 || capture < 0 || handed < 0 || nothing < 0) _exit(BAD_START);
  for (int fd = 0; fd < 3; fd++) dup2(nothing, fd);
  for (int fd = 3; fd < FIRST_FREE; fd++) close(fd);
  if (dup2(control, CONTROL_FD) < 0 || dup2(handed, HANDOVER_FD) < 0 || dup2(capture, CAPTURE_FD) < 0) _exit(BAD_START);
  syscall(SYS_close_range, FIRST_FREE, ~0U, 0);
}

static void open_sigchld_fd(void) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGCHLD);
  sigchld_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  snprintf(children_file, sizeof children_file, "/proc/self/task/%d/children", getpid());
  int fd = open(children_file, O_RDONLY | O_CLOEXEC);
  if (sigchld_fd < 0 || fd < 0) _exit(BAD_START);
  close(fd);
}

/* Index of "--" from `from` on; exits if there is none. */
static int index_of_separator(int argc, char **argv, int from) {
  for (int i = from; i < argc; i++)
    if (!strcmp(argv[i], "--")) return i;
  errno = EINVAL;
  cannot("keep");
}

/* Text of the first `count` options after `name`; NULL if there is none. */
static char *value_of_option(const char *name, int count, char **argv) {
  for (int i = 0; i < count; i++)
    if (!strncmp(argv[i], name, strlen(name))) return argv[i] + strlen(name);
  return NULL;
}

/*
 * By Landlock, so that the kernel resolves a path of the wall and judges the folder in one step (sockets.c). Before the fork:
 * a process of a domain looks only into those of the same domain, which the wall then inherits. Without REFER a domain
 * forbids each rename into another folder.
 */
static void bind_below_scratch_only(int options, char **argv) {
  struct landlock_ruleset_attr handled = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SOCK};
  if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 1)
    handled.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
  struct landlock_path_beneath_attr rule = {.allowed_access = handled.handled_access_fs, .parent_fd = -1};
  const char *scratch = value_of_option("scratch=", options, argv);
  if (scratch) rule.parent_fd = open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled.handled_access_fs, 0);
  if (rules < 0 || syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0)) cannot("restrict sockets");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, rules, 0)) cannot("restrict sockets");
  close(rules);
  close(rule.parent_fd);
}

void keep(int argc, char **argv) {
  int options = index_of_separator(argc, argv, 0), steps = index_of_separator(argc, argv, options + 1), handover[2];
  errno = EINVAL;
  if (argc - steps < 3) cannot("no program");
  char *files = value_of_option("nofile=", options, argv);
  if (!files) cannot("no limit on open files");
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &ends, NULL)) cannot("signals");
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) cannot("adopt orphans");
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, handover)) cannot("hand over");
  bind_below_scratch_only(options, argv);
  pid_t child = fork();
  if (child < 0) cannot("start the program");
  if (child == 0) {
    close(handover[0]);
    become_program(argv + options + 1, steps - options - 1, argv + steps + 1, handover[1], files);
  }
  close(handover[1]);
  wall.is_kept = 1;
  wall.tasks_max = TASKS_MAX;
  wall.first_pid = child;
  wall.keeper = getpid();
  rearrange_descriptors(handover[0]);
  open_sigchld_fd();
  set_up_sentinel(options, argv);
  wall.init = (int)syscall(SYS_pidfd_open, child, 0);
  wall.pid_namespace = pid_namespace_of(child);
  wall.root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (wall.init < 0 || wall.root < 0 || !wall.scratch_path[0]) end_kept(BAD_START);
  if (send(HANDOVER_FD, "G", 1, MSG_NOSIGNAL) != 1) end_kept(NOT_HANDED_OVER);
}

/* Only the child forked here has the other end, and it runs no user code before it answers. */
void receive_listener(void) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } ancillary;
  char byte;
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
  ssize_t n = recvmsg(HANDOVER_FD, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  struct cmsghdr *head = n == 1 ? CMSG_FIRSTHDR(&message) : NULL;
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof(int))) {
    /* The child has exited, and reported the reason. */
    close(HANDOVER_FD);
    wall.listener = -1;
    end_kept(NOT_HANDED_OVER);
  }
  memcpy(&wall.listener, CMSG_DATA(head), sizeof wall.listener);
  if (send(HANDOVER_FD, "T", 1, MSG_NOSIGNAL) != 1) end_kept(NOT_HANDED_OVER);
  close(HANDOVER_FD);
  SEND_LINE("{\"kind\":\"ready\",\"pid\":%d,\"scratch\":1}\n", wall.first_pid);
}

void child_exited(pid_t pid, int status) {
  if (pid != wall.first_pid) return;
  has_first_exited = 1;
  exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void end_if_over(void) {
  if (!has_first_exited) return;
  read_watch_events();
  flush_out();
  end_kept(exit_code);
}

/* Kills the pids of the kernel's list of children. A listed child is not reaped yet, so its pid is not reused. */
static void kill_pids(const char *text, ssize_t length) {
  for (const char *at = text, *end = text + length; at < end;) {
    pid_t pid = 0;
    while (at < end && *at >= '0' && *at <= '9') pid = pid * 10 + (*at++ - '0');
    /* A pid truncated at the end is read in a later pass. */
    if (pid > 0 && at < end) kill(pid, SIGKILL);
    at++;
  }
}

/* Kills the children of this process, which has one thread. */
static void kill_children(void) {
  static char text[CHILDREN_LIST_BYTES];
  int fd = open(children_file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t length = read(fd, text, sizeof text);
  close(fd);
  kill_pids(text, length);
}

void end_kept(int status) {
  if (wall.listener >= 0) close(wall.listener);
  wall.listener = -1;
  for (int i = 0; i < wall.lift_count; i++)
    if (write(wall.lift_fds[i], wall.lift_texts[i], strlen(wall.lift_texts[i])) < 0) continue;
  /* WNOHANG: the list may omit a child that follows an exiting one (proc_pid_children(5)), so passes are repeated. */
  for (int ended;; usleep(PASS_US)) {
    kill_children();
    pid_t gone;
    do gone = waitpid(-1, &ended, __WALL | WNOHANG);
    while (gone > 0 || (gone < 0 && errno == EINTR));
    if (gone < 0) _exit(status);
  }
}

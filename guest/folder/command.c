/*
 * The command between fork and exec: enters a child user namespace, drops all capabilities, loads two seccomp filters.
 *
 * Problem. A process can load a seccomp filter only for itself, and it must be in force before the first instruction of the
 * command. The command runs as the same user as `init`, yet `init` must be able to ptrace it (read its memory and copy its
 * descriptors) and not the other way round.
 *
 * Mechanism. In the new user namespace this process has the caller's uid and no capability. `init`, in the parent namespace,
 * has ptrace access to every process in it, including undumpable ones. The notifying filter is loaded first: `init` receives
 * the number of its listener and copies it (pidfd_getfd). Then the fixed filter is loaded, which allows or refuses by itself.
 *
 * Relies on seccomp_unotify(2), user_namespaces(7). After the first filter nothing here opens a file: the open would wait for
 * an answer of `init`.
 */
#define _GNU_SOURCE
#include "command.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "../sentinel/caller.h"
#include "../sentinel/wall.h"
#include "folder.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

/* Needed by the sentinel's caller.c, which uses only the listener here. */
struct wall wall = {.listener = -1};

enum { NOT_FOUND = 127, NOT_RUN = 126, FILTER_BYTES = 65536 };

static struct sock_fprog parse_filter(const char *hex, unsigned char *code) {
  size_t length = strlen(hex) / 2;
  errno = EINVAL;
  must(length > 0 && length <= FILTER_BYTES && length % sizeof(struct sock_filter) == 0, "filter");
  for (size_t i = 0; i < length; i++) {
    unsigned int byte;
    must(sscanf(hex + 2 * i, "%2x", &byte) == 1, "filter");
    code[i] = (unsigned char)byte;
  }
  return (struct sock_fprog){(unsigned short)(length / sizeof(struct sock_filter)), (struct sock_filter *)(void *)code};
}

static int load_filter(unsigned long flags, const struct sock_fprog *program) {
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
}

/* RLIMIT_CORE of 1 byte, not 0: a limit of 0 still runs a core_pattern pipe program, 1 does not (fs/coredump.c). */
static void set_limits(void) {
  struct rlimit core = {1, 1}, tasks = {(rlim_t)options.processes, (rlim_t)options.processes};
  setrlimit(RLIMIT_CORE, &core);
  must(setrlimit(RLIMIT_NPROC, &tasks) == 0, "processes");
}

void drop_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}};
  for (unsigned long one = 0; one < 64; one++)
    if (prctl(PR_CAPBSET_DROP, one, 0, 0, 0)) break;
  must(syscall(SYS_capset, &header, none) == 0, "capabilities");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
}

static void attach_terminal(int terminal) {
  for (int fd = 0; fd < 3; fd++)
    if (options.terminals & 1 << fd) must(dup2(terminal, fd) == fd, "terminal");
  must(setpgid(0, 0) == 0, "group");
  /* SIGTTOU is blocked here, or tcsetpgrp(3) from a background process group would stop this process. */
  must(tcsetpgrp(terminal, getpid()) == 0, "foreground");
}

static void restore_signals(void) {
  sigset_t none;
  sigemptyset(&none);
  for (int one = 1; one < NSIG; one++) signal(one, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void run(void) {
  environ = options.variables;
  execvpe(options.command[0], options.command, options.variables);
  int is_missing = errno == ENOENT || errno == ENOTDIR;
  int is_line = is_missing && options.command[1] == NULL && strchr(options.command[0], ' ') != NULL;
  dprintf(2, "mayfly: cannot run \"%.200s\": %s%s\n", options.command[0],
          is_missing ? "no such program in this wall" : strerror(errno),
          is_line ? "; give its words as arguments, or run a line by a shell: mayfly exec -- sh -c 'LINE'" : "");
  _exit(is_missing ? NOT_FOUND : NOT_RUN);
}

static void write_map(int proc, const char *name, const char *text) {
  char path[32];
  snprintf(path, sizeof path, "self/%s", name);
  int fd = openat(proc, path, O_WRONLY | O_CLOEXEC);
  must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), name);
  close(fd);
}

/* Maps a single uid and gid: the caller's inside, 0 in the parent namespace, which is the wall's. */
static void enter_user_namespace(int proc) {
  char map[64];
  must(unshare(CLONE_NEWUSER) == 0, "user namespace");
  write_map(proc, "setgroups", "deny");
  snprintf(map, sizeof map, "%u 0 1", options.uid);
  write_map(proc, "uid_map", map);
  snprintf(map, sizeof map, "%u 0 1", options.gid);
  write_map(proc, "gid_map", map);
}

static _Noreturn void become_command(int socket, int terminal, int proc) {
  static unsigned char codes[2][FILTER_BYTES] __attribute__((aligned(8)));
  struct sock_fprog notify_filter = parse_filter(options.notify_filter, codes[0]);
  struct sock_fprog fixed_filter = parse_filter(options.fixed_filter, codes[1]);
  char byte;
  if (terminal >= 0) attach_terminal(terminal);
  else must(setsid() >= 0, "session");
  enter_user_namespace(proc);
  set_limits();
  drop_capabilities();
  must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0, "dumpable");
  restore_signals();
  must(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0, "descriptors");
  int listener = load_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &notify_filter);
  if (listener < 0 && errno == EINVAL) listener = load_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER, &notify_filter);
  must(listener >= 0, "filter");
  must(write(socket, &listener, sizeof listener) == (ssize_t)sizeof listener && read(socket, &byte, 1) == 1, "handover");
  close(listener);
  must(load_filter(0, &fixed_filter) == 0, "filter");
  run();
}

pid_t start_command(int terminal, int proc) {
  int pair[2], number;
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "handover");
  pid_t pid = fork();
  must(pid >= 0, "fork");
  if (pid == 0) {
    close(pair[0]);
    become_command(pair[1], terminal, proc);
  }
  close(pair[1]);
  errno = ECHILD;
  must(read(pair[0], &number, sizeof number) == (ssize_t)sizeof number, "start");
  wall.listener = copy_descriptor(pid, number);
  errno = wall.listener < 0 ? -wall.listener : 0;
  must(wall.listener >= 0, "listener");
  /* Optional (Linux 6.6): wakes caller and supervisor on the same CPU. */
  ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  must(write(pair[0], "T", 1) == 1, "handover");
  close(pair[0]);
  return pid;
}

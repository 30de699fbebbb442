/*
 * The start outside of the wall: options, dropping of rights, handover of the listener.
 *
 * Problem: this process parses hostile input. Compromised, it must have no more rights than the wall's own user; and the
 * listener must be that of the started process, even if another process gets access to the socket.
 *
 * Mechanism: cgroup files are opened as the warden's user, then the process switches to the wall's uid, and a seccomp filter
 * refuses calls that are not needed. The handover contains numbers of descriptors; the kernel reports the sender's pid, and
 * they are copied from that process. Its first process is found by its number 1 in the innermost PID namespace. The death
 * signal is set after the last change of uid, which clears it, and the warden's pid is compared after that.
 *
 * Relies on: SO_PASSCRED in unix(7); pidfd_open(2) (Linux 5.3) and pidfd_getfd(2) (Linux 5.6); NSpid in proc(5) (Linux
 * 4.1); PR_SET_PDEATHSIG in prctl(2); SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP where the kernel has it (Linux 6.6).
 *
 * Not handled: Yama with ptrace_scope above 0. The handover then fails, and is reported (`unready`).
 */
#define _GNU_SOURCE
#include "start.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "caller.h"
#include "connections.h"
#include "enter.h"
#include "keep.h"
#include "lines.h"
#include "paths.h"
#include "wall.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

enum { ENDING_MS = 50 };

static void on_alarm(int signal) { (void)signal; }

/* SO_PASSCRED: the kernel reports the sender's pid in this namespace. */
static pid_t receive_numbers(int32_t numbers[2]) {
  union {
    char bytes[CMSG_SPACE(sizeof(struct ucred))];
    struct cmsghdr align;
  } ancillary;
  struct iovec part = {numbers, 2 * sizeof *numbers};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
  if (recvmsg(HANDOVER_FD, &message, MSG_DONTWAIT) != (ssize_t)(2 * sizeof *numbers)) return -1;
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (!head || head->cmsg_type != SCM_CREDENTIALS) return -1;
  struct ucred sender;
  memcpy(&sender, CMSG_DATA(head), sizeof sender);
  return sender.uid == getuid() && sender.pid > 0 ? sender.pid : -1;
}

static int open_init(pid_t pid) {
  wall.pid_namespace = pid_namespace_of(pid);
  for (int up = 0; up < 3 && pid > 1; up++) {
    if (status_of(pid, "\nNSpid:", 10, 1) == 1) return (int)syscall(SYS_pidfd_open, pid, 0);
    pid = (pid_t)status_of(pid, "\nPPid:", 10, 0);
  }
  errno = ESRCH;
  return -1;
}

static void find_scratch(void) {
  static const char *const folders[] = {"work", "tmp", "dev/shm"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    struct stat facts, root;
    int fd = open_below(wall.root, folders[i], O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    if (fd < 0) continue;
    /* A folder on the root's own file system is not scratch. */
    if (fstat(fd, &facts) == 0 && fstat(wall.root, &root) == 0 && facts.st_dev != root.st_dev)
      wall.scratch[wall.scratch_count++] = facts.st_dev;
    close(fd);
  }
}

void copy_listener(void) {
  int32_t numbers[2] = {-1, -1};
  wall.first_pid = receive_numbers(numbers);
  if (wall.first_pid < 0) end_wall(NOT_HANDED_OVER);
  wall.init = open_init(wall.first_pid);
  wall.listener = wall.init < 0 ? -1 : copy_descriptor(wall.first_pid, numbers[0]);
  if (wall.listener >= 0 && numbers[1] >= 0) wall.sockets = copy_descriptor(wall.first_pid, numbers[1]);
  if (wall.sockets >= 0 && !is_sock_diag(wall.sockets)) {
    close(wall.sockets);
    wall.sockets = -1;
  }
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/root", wall.first_pid);
  wall.root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (wall.listener < 0 || wall.root < 0) {
    /* Race: copying from an exiting process fails like a refusal. */
    for (int tries = 0; tries < ENDING_MS && !has_ended(wall.first_pid); tries++) usleep(1000);
    if (has_ended(wall.first_pid)) end_wall(NOT_HANDED_OVER);
    SEND_LINE("{\"kind\":\"unready\",\"why\":\"%s\"}\n", wall.init < 0 ? "no first process" : "not allowed to look into it");
    end_wall(NOT_HANDED_OVER);
  }
  find_scratch();
  ioctl(wall.listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  if (send(HANDOVER_FD, "T", 1, MSG_NOSIGNAL) != 1) end_wall(NOT_HANDED_OVER);
  close(HANDOVER_FD);
  SEND_LINE("{\"kind\":\"ready\",\"pid\":%d,\"scratch\":%d}\n", wall.first_pid, wall.scratch_count);
}

/* Drops system calls this process never needs, as defence in depth. */
static void restrict_self(void) {
#if defined(__x86_64__)
  const uint32_t machine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
  const uint32_t machine = AUDIT_ARCH_AARCH64;
#else
#error "The sentinel knows x86-64 and arm64"
#endif
  static const int refused[] = {SYS_execve,  SYS_execveat,    SYS_mount,  SYS_umount2,        SYS_pivot_root,
                                SYS_chroot,  SYS_setns,       SYS_unshare, SYS_bpf,           SYS_keyctl,
                                SYS_init_module, SYS_reboot, SYS_open_by_handle_at, SYS_io_uring_setup, SYS_userfaultfd,
                                SYS_process_vm_writev, SYS_socket, SYS_listen};
  enum { ALL_REFUSED = sizeof refused / sizeof *refused, OF_SOCKETS = 2 };
  /* A keeper makes the sockets of its wall. */
  const int REFUSED = wall.is_kept ? ALL_REFUSED - OF_SOCKETS : ALL_REFUSED;
  struct sock_filter code[ALL_REFUSED + 6], *at = code;
  *at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, machine, 0, (uint8_t)(REFUSED + 2));
  *at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < REFUSED; i++)
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)refused[i], (uint8_t)(REFUSED - i), 0);
  *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  if (load_filter(0, (const unsigned char *)code, (uint32_t)((char *)at - (char *)code))) _exit(BAD_START);
}

static void switch_user(uid_t uid) {
  setpriority(PRIO_PROCESS, 0, -15);
  if (getuid() != uid && (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))) _exit(BAD_START);
  if (getuid() == 0 && uid != 0) _exit(BAD_START);
}

static int parse_option(const char *word) {
  if (!strncmp(word, "call=", 5)) {
    char *end;
    long call = strtol(word + 5, &end, 10), class = *end == ':' ? strtol(end + 1, &end, 10) : -1;
    if (*end || call < 0 || call >= CALLS_MAX || class < 0 || class >= CLASSES) return 0;
    wall.class_of[call] = (uint8_t)(class + 1);
    return 1;
  }
  /* A cgroup file and the value that lifts its bound: opened before the uid changes. */
  if (!strncmp(word, "lift=", 5)) {
    static char names[LIFTS_MAX][512];
    if (wall.lift_count == LIFTS_MAX || strlen(word + 5) >= sizeof names[0]) return 0;
    char *name = strcpy(names[wall.lift_count], word + 5), *text = strchr(name, ':');
    if (!text) return 0;
    *text++ = 0;
    wall.lift_fds[wall.lift_count] = open(name, O_WRONLY | O_CLOEXEC);
    wall.lift_texts[wall.lift_count] = text;
    if (wall.lift_fds[wall.lift_count] >= 0) wall.lift_count++;
    return 1;
  }
  /* Substring of a secret's path: opens of it are always reported. */
  if (!strncmp(word, "secret=", 7)) {
    if (wall.secret_count == SECRETS_MAX || !word[7]) return 0;
    wall.secrets[wall.secret_count++] = word + 7;
    return 1;
  }
  /* pids.max of the wall's cgroup. */
  if (!strncmp(word, "bound=", 6)) return (wall.pids_max_fd = open(word + 6, O_RDWR | O_CLOEXEC)) >= 0;
  return parse_keeper_option(word);
}

void set_up_sentinel(int argc, char **argv) {
  uid_t uid = getuid();
  pid_t parent = getppid();
  for (int i = 0; i < argc; i++) {
    if (!strncmp(argv[i], "uid=", 4)) uid = (uid_t)strtoul(argv[i] + 4, NULL, 10);
    else if (!strncmp(argv[i], "parent=", 7)) parent = (pid_t)strtol(argv[i] + 7, NULL, 10);
    else if (!parse_option(argv[i])) _exit(BAD_START);
  }
  memset(wall.errors, EPERM, sizeof wall.errors);
  wall.parent = (int)syscall(SYS_pidfd_open, parent, 0);
  switch_user(uid);
  /* Not SIGTERM, which systemd sends to every process of a unit while jobs drain. */
  struct sigaction dies = {.sa_handler = on_parent_death};
  sigaction(SIGUSR2, &dies, NULL);
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  /* Without SA_RESTART, so that it interrupts system calls. */
  struct sigaction interrupts = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &interrupts, NULL);
  /* Set last, because a change of uid clears it. Not SIGKILL: it has to end the wall first. */
  prctl(PR_SET_PDEATHSIG, SIGUSR2);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  for (int fd = CONTROL_FD; fd <= CAPTURE_FD; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (wall.parent < 0 || getppid() != parent) _exit(LOST_WARDEN);
  /* Without kernel timers, only the warden's timeout remains. */
  struct sigevent ends = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
  wall.has_watchdog = syscall(SYS_timer_create, CLOCK_MONOTONIC, &ends, &wall.watchdog) == 0;
  restrict_self();
}

void start(int argc, char **argv) {
  close(PROGRAM_FD);
  set_up_sentinel(argc, argv);
  int on = 1;
  if (setsockopt(HANDOVER_FD, SOL_SOCKET, SO_PASSCRED, &on, sizeof on)) _exit(BAD_START);
  if (send(HANDOVER_FD, "G", 1, MSG_NOSIGNAL) != 1) _exit(NOT_HANDED_OVER);
}

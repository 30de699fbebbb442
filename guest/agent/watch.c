/*
 * Problem: the host sees no processes of a guest. Only the guest's kernel can report execs, refusals, exits and OOM kills there, at any
 * rate, and a program that floods these events must neither fill the channel nor block the agent.
 *
 * Mechanism: four sources, opened while the machine boots, so that a clone has them. Execs by fanotify(7) (FAN_OPEN_EXEC), which
 * identifies the file by a descriptor, not by a path that can change. Refusals of the AppArmor profile by the multicast group of the
 * audit subsystem (AUDIT_NLGRP_READLOG), which needs no audit daemon, rate-limited by the kernel. Exits by the process events connector
 * (proc connector), only for processes whose exec was reported. OOM kills by the cgroup's memory.events. Without credit of the host,
 * events are read and dropped; each observation contains the number of dropped ones.
 *
 * Relies on: Linux 5.0 (FAN_OPEN_EXEC), CONFIG_AUDIT, CONFIG_PROC_EVENTS; without one of them its observations are missing.
 *
 * Not handled: a program in memory (memfd_create(2)), whose exec fanotify does not report; other events during a flood. An exec of the
 * loader itself, right after that of another program of the same process, is taken for a part of that one.
 */
#define _GNU_SOURCE
#include "watch.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "group.h"
#include "policy.h"
#include "processes.h"
#include "refusal.h"

enum { READS_MAX = 16, RECORD_BYTES_MAX = 8192, EXECS_BYTES = 4096, KNOWN_MAX = 256 };
/* Rate limit of refusals at the kernel, which drops and does not count further ones. */
enum { REFUSALS_A_SECOND = 100, BACKLOG = 256 };
enum { US_PER_S = 1000000, NS_PER_US = 1000 };

static int execs = -1, refusals = -1, exits = -1, ends = -1;
static uint32_t credit, left_out;
static int is_watching;

/* ---- reports ---- */

static uint64_t now_us(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / NS_PER_US;
}

/* Begins an observation if credit is left and it fits into the buffer of the channel. */
static int begin_seen(uint8_t what, pid_t pid, uint64_t time_us) {
  if (!is_watching || is_held) return 0;
  if (credit == 0 || !has_room_for_output()) {
    left_out++;
    return 0;
  }
  credit--;
  begin(SEEN);
  put_u8(what);
  put_u32((uint32_t)pid);
  put_u64(time_us);
  put_u32(left_out);
  return 1;
}

static void put_cut(const char *text) {
  char cut[SEEN_TEXT_BYTES_MAX + 1];
  size_t length = strlen(text), from = length > SEEN_TEXT_BYTES_MAX ? length - SEEN_TEXT_BYTES_MAX : 0;
  memcpy(cut, text + from, length - from + 1);
  put_text(cut);
}

/* ---- programs ---- */

/* Processes whose exec was reported and whose exit was not yet. */
static pid_t known[KNOWN_MAX];
static size_t known_at;

static pid_t *place_of(pid_t pid) {
  for (size_t i = 0; i < KNOWN_MAX; i++)
    if (known[i] == pid) return &known[i];
  return NULL;
}

static void remember(pid_t pid) {
  if (place_of(pid)) return;
  known[known_at] = pid;
  known_at = (known_at + 1) % KNOWN_MAX;
}

/* True for the dynamic loader of a program, which the same exec opens right after it. */
static int is_its_loader(const struct stat *file, pid_t pid) {
  static struct stat loader;
  static pid_t last;
  if (loader.st_ino == 0 && stat("/lib64/ld-linux-x86-64.so.2", &loader) < 0) return 0;
  int is_loader = file->st_dev == loader.st_dev && file->st_ino == loader.st_ino;
  int is_its = is_loader && pid == last;
  last = is_loader ? 0 : pid;
  return is_its;
}

/* Time of its last change of content or mode, on the monotonic clock; 0 if that was before the clock started. */
static uint64_t changed_us(const struct stat *file) {
  uint64_t since = now_us(CLOCK_REALTIME) - now_us(CLOCK_MONOTONIC);
  uint64_t at = (uint64_t)file->st_ctim.tv_sec * US_PER_S + (uint64_t)file->st_ctim.tv_nsec / NS_PER_US;
  return file->st_ctim.tv_sec > 0 && at > since ? at - since : 0;
}

static void tell_exec(int fd, pid_t pid) {
  char link[32], path[PATH_BYTES_MAX + 1];
  struct stat file;
  if (fstat(fd, &file) < 0 || is_its_loader(&file, pid) || is_outside_group(pid)) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  path[n > 0 ? n : 0] = 0;
  if (!begin_seen(SEEN_EXEC, pid, now_us(CLOCK_MONOTONIC))) return;
  put_u64(changed_us(&file));
  put_cut(path);
  finish();
  remember(pid);
}

static void serve_execs(void) {
  static _Alignas(struct fanotify_event_metadata) char bytes[EXECS_BYTES];
  for (int i = 0; i < READS_MAX; i++) {
    ssize_t n = read(execs, bytes, sizeof bytes);
    if (n <= 0) return;
    for (struct fanotify_event_metadata *one = (void *)bytes; FAN_EVENT_OK(one, n); one = FAN_EVENT_NEXT(one, n)) {
      if (one->mask & FAN_Q_OVERFLOW) left_out++;
      if (one->fd < 0) continue;
      tell_exec(one->fd, one->pid);
      close(one->fd);
    }
  }
}

/* ---- refusals ---- */

static void tell_refusal(const char *record) {
  static struct refusal seen;
  if (!read_refusal(record, JOB_PROFILE, &seen) || !begin_seen(SEEN_REFUSAL, seen.pid, now_us(CLOCK_MONOTONIC))) return;
  put_u8(seen.class);
  put_cut(seen.operation);
  put_cut(seen.subject);
  finish();
}

/* Reads messages of a netlink socket; `data` ends with a NUL. */
static void serve_netlink(int fd, void (*tell)(const struct nlmsghdr *message, char *data, size_t length)) {
  static _Alignas(struct nlmsghdr) char bytes[RECORD_BYTES_MAX + 1];
  for (int i = 0; i < READS_MAX; i++) {
    ssize_t n = recv(fd, bytes, RECORD_BYTES_MAX, MSG_DONTWAIT);
    if (n < 0 && errno == ENOBUFS) left_out++;
    if (n <= 0) return;
    struct nlmsghdr *message = (void *)bytes;
    if ((size_t)n < sizeof *message) continue;
    bytes[n] = 0;
    tell(message, bytes + sizeof *message, (size_t)n - sizeof *message);
  }
}

static void take_record(const struct nlmsghdr *message, char *data, size_t length) {
  (void)length;
  if (message->nlmsg_type == AUDIT_AVC) tell_refusal(data);
}

/* ---- exits ---- */

static void take_exit(const struct nlmsghdr *message, char *data, size_t length) {
  struct proc_event seen;
  (void)message;
  if (length < sizeof(struct cn_msg) + sizeof seen) return;
  memcpy(&seen, data + sizeof(struct cn_msg), sizeof seen);
  pid_t pid = seen.event_data.exit.process_tgid;
  unsigned code = seen.event_data.exit.exit_code;
  pid_t *place = seen.what == PROC_EVENT_EXIT ? place_of(pid) : NULL;
  if (!place) return;
  *place = 0;
  if (!begin_seen(SEEN_EXIT, pid, seen.timestamp_ns / NS_PER_US)) return;
  put_u8((code & 0x7f) != 0);
  put_u8((uint8_t)(code & 0x7f ? code & 0x7f : code >> 8));
  finish();
}

/* ---- OOM kills ---- */

static void serve_ends(void) {
  static uint64_t told;
  uint64_t now = kills_in(ends);
  if (now <= told) return;
  told = now;
  if (!begin_seen(SEEN_OOM, 0, now_us(CLOCK_MONOTONIC))) return;
  put_u64(now);
  finish();
}

/* ---- sources ---- */

static int open_netlink(int protocol, unsigned group) {
  struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = group};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
  close(fd);
  return -1;
}

/* Sets the audit queue to drop records that do not fit, instead of blocking the refused task. */
static void bound_refusals(void) {
  struct {
    struct nlmsghdr head;
    struct audit_status status;
  } asked = {
      .head = {.nlmsg_len = sizeof asked, .nlmsg_type = AUDIT_SET, .nlmsg_flags = NLM_F_REQUEST},
      .status = {.mask = AUDIT_STATUS_RATE_LIMIT | AUDIT_STATUS_BACKLOG_LIMIT | AUDIT_STATUS_BACKLOG_WAIT_TIME,
                 .rate_limit = REFUSALS_A_SECOND,
                 .backlog_limit = BACKLOG},
  };
  int fd = open_netlink(NETLINK_AUDIT, 0);
  if (fd < 0 || send(fd, &asked, sizeof asked, 0) < 0) {
    close(refusals);
    refusals = -1;
  }
  if (fd >= 0) close(fd);
}

/* Subscribes to exits of processes. A BPF filter drops those of threads, which would wake the agent. */
static void ask_exits(void) {
  enum { PID_AT = sizeof(struct nlmsghdr) + sizeof(struct cn_msg) + offsetof(struct proc_event, event_data) };
  struct sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, PID_AT),         BPF_STMT(BPF_MISC | BPF_TAX, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, PID_AT + 4),     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),              BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog filter = {sizeof steps / sizeof *steps, steps};
  struct {
    struct nlmsghdr head;
    struct cn_msg message;
    /* `struct proc_input` of Linux 6.6; older kernels read only the first field, and report all events. */
    uint32_t listen, events;
  } __attribute__((packed)) asked = {
      .head = {.nlmsg_len = sizeof asked, .nlmsg_type = NLMSG_DONE},
      .message = {.id = {CN_IDX_PROC, CN_VAL_PROC}, .len = 8},
      .listen = PROC_CN_MCAST_LISTEN,
      .events = PROC_EVENT_EXIT,
  };
  if (setsockopt(exits, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0 && send(exits, &asked, sizeof asked, 0) >= 0) return;
  close(exits);
  exits = -1;
}

void open_watch(void) {
  refusals = has_policy() ? open_netlink(NETLINK_AUDIT, 1 << (AUDIT_NLGRP_READLOG - 1)) : -1;
  if (refusals >= 0) bound_refusals();
  exits = open_netlink(NETLINK_CONNECTOR, CN_IDX_PROC);
  if (exits >= 0) ask_exits();
  ends = open_memory_events();
  execs = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC | O_LARGEFILE);
}

void watch_places(void) {
  static const char *const places[] = {"/", "/tmp", "/dev/shm", "/run"};
  int marked = 0;
  for (size_t i = 0; execs >= 0 && i < sizeof places / sizeof *places; i++)
    if (fanotify_mark(execs, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN_EXEC, AT_FDCWD, places[i]) == 0) marked++;
  if (execs < 0 || marked > 0) return;
  close(execs);
  execs = -1;
}

int can_watch(void) { return execs >= 0; }

void forget_watch(void) {
  is_watching = 0;
  credit = left_out = 0;
}

void take_watch(struct reader *from) {
  uint32_t more = take_u32(from);
  if (!is_whole(from)) end_agent(BAD_PAYLOAD);
  if (more > SEEN_CREDIT_MAX - credit) end_agent(BAD_CREDIT);
  is_watching = 1;
  credit += more;
}

size_t poll_watch(struct pollfd *on) {
  size_t count = 0;
  if (execs >= 0) on[count++] = (struct pollfd){.fd = execs, .events = POLLIN};
  if (refusals >= 0) on[count++] = (struct pollfd){.fd = refusals, .events = POLLIN};
  if (exits >= 0) on[count++] = (struct pollfd){.fd = exits, .events = POLLIN};
  if (ends >= 0) on[count++] = (struct pollfd){.fd = ends, .events = POLLPRI};
  return count;
}

void serve_watch(const struct pollfd *on, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (on[i].revents == 0) continue;
    if (on[i].fd == execs) serve_execs();
    else if (on[i].fd == refusals) serve_netlink(refusals, take_record);
    else if (on[i].fd == exits) serve_netlink(exits, take_exit);
    else serve_ends();
  }
}

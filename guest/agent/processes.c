/*
 * Problem: limits, kills and statistics apply to processes that fork and exit while /proc is scanned.
 *
 * Mechanism: scans /proc repeatedly until a pass changed nothing, up to a maximum; if the last pass still changed something, the
 * result is EAGAIN, never success. Everything read has a size limit, and a process above it counts as a writer.
 *
 * Relies on: procfs of its own PID namespace, readable by process 1.
 *
 * Not handled: paths of processes in another mount namespace, which this process cannot see; descriptors in flight in a socket; a
 * process that the guest's kernel hides from process 1 (EACCES is returned).
 */
#define _GNU_SOURCE
#include "processes.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "group.h"
#include "overlay.h"
#include "programs.h"

enum { PASSES_MAX = 8, PROCESSES_MAX = 65536, TASKS_MAX = 4096, DESCRIPTORS_SEEN_MAX = 4096, MAPS_BYTES_MAX = 8 << 20, KNOWN_MAX = 64 };
/* Doubled from pass to pass: a quarter of a second in total. */
enum { PAUSE_NS = 1000000 };
/* PF_KTHREAD of the kernel's <linux/sched.h>, in the flags of /proc/PID/stat. */
enum { KERNEL_THREAD = 0x00200000 };
enum { STAT_BYTES_MAX = 1024, COMM_BYTES_MAX = 15 };

struct entry64 {
  uint64_t inode;
  int64_t next;
  unsigned short length;
  unsigned char type;
  char name[];
};

/* Iterates over the names in a folder, a buffer at a time. */
struct walk {
  int fd;
  long have, at;
  _Alignas(struct entry64) char bytes[4096];
};

static int proc = -1;
/* Device number of unnamed memory: memfd_create(2), shared anonymous mappings, System V. 0 if unknown. */
static dev_t nameless;

static void find_nameless(void) {
  struct stat seen;
  int fd = memfd_create("", MFD_CLOEXEC);
  if (fd < 0) return;
  if (fstat(fd, &seen) == 0) nameless = seen.st_dev;
  close(fd);
}

int open_proc(void) {
  find_nameless();
  struct statfs fs;
  char self[16];
  int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = readlinkat(fd, "self", self, sizeof self);
  if (fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC && n == 1 && self[0] == '1') {
    proc = fd;
    return 1;
  }
  close(fd);
  return 0;
}

static int open_of(pid_t pid, const char *name, int flags) {
  char path[96];
  snprintf(path, sizeof path, "%d/%.80s", (int)pid, name);
  return openat(proc, path, flags | O_CLOEXEC);
}

/* Fields of a `stat` file after the command name; null if the process is gone. Points into `text`. */
static char *read_stat(pid_t pid, const char *path, char text[STAT_BYTES_MAX]) {
  int fd = open_of(pid, path, O_RDONLY);
  if (fd < 0) return NULL;
  ssize_t n = read(fd, text, STAT_BYTES_MAX - 1);
  close(fd);
  text[n > 0 ? n : 0] = 0;
  char *end = strrchr(text, ')');
  return end && strchr(text, '(') < end ? end + 1 : NULL;
}

/* Kernel threads are exempt: a file size limit of theirs would break writes of the whole machine. */
static int is_kernel_thread(pid_t pid) {
  char text[STAT_BYTES_MAX];
  unsigned flags = 0;
  const char *rest = read_stat(pid, "stat", text);
  return rest && sscanf(rest, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && flags & KERNEL_THREAD;
}

static const char *next_name(struct walk *walk) {
  if (walk->at >= walk->have) {
    walk->at = 0;
    walk->have = syscall(SYS_getdents64, walk->fd, walk->bytes, sizeof walk->bytes);
    if (walk->have <= 0) return NULL;
  }
  const struct entry64 *entry = (const struct entry64 *)(walk->bytes + walk->at);
  walk->at += entry->length;
  return entry->name;
}

/* Next process except this one; 0 after the last. */
static pid_t next_pid(struct walk *walk) {
  for (const char *name; (name = next_name(walk));) {
    char *end;
    long pid = strtol(name, &end, 10);
    if (*end == 0 && pid > 1) return (pid_t)pid;
  }
  return 0;
}

/* Calls `act` for each process until a pass changed nothing. `act` adds to *touched and returns 0 or an errno. */
static int for_all(int (*act)(pid_t, const void *, uint32_t *), const void *given, uint32_t *touched) {
  static struct walk walk;
  int error = 0;
  *touched = 0;
  if (proc < 0) return ENOENT;
  for (int pass = 0; pass < PASSES_MAX; pass++) {
    uint32_t before = *touched;
    error = 0;
    walk = (struct walk){.fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (walk.fd < 0) return errno;
    pid_t pid;
    for (int seen = 0; (pid = next_pid(&walk)) > 0; seen++) {
      if (is_kernel_thread(pid)) continue;
      int failed = seen < PROCESSES_MAX ? act(pid, given, touched) : E2BIG;
      if (failed && failed != ESRCH) error = failed;
      if (failed == E2BIG) break;
    }
    close(walk.fd);
    if (*touched == before && !error) return 0;
    /* Killed processes keep their descriptors until they have exited; /proc of an exiting one may be unreadable. */
    const struct timespec pause = {0, PAUSE_NS << pass};
    nanosleep(&pause, NULL);
    reap_some();
  }
  return error ? error : EAGAIN;
}

/* Reads a line of a file, without its line feed; 0 if the process is gone. */
static int read_line_of(pid_t pid, const char *name, char *to, size_t bytes) {
  int fd = proc < 0 ? -1 : open_of(pid, name, O_RDONLY);
  ssize_t n = fd < 0 ? 0 : read(fd, to, bytes - 1);
  if (fd >= 0) close(fd);
  if (n > 0 && to[n - 1] == '\n') n--;
  to[n > 0 ? n : 0] = 0;
  return n > 0;
}

int read_cgroup(pid_t pid, char *to, size_t bytes) { return read_line_of(pid, "cgroup", to, bytes); }

int is_outside_group(pid_t pid) {
  char line[128];
  return read_cgroup(pid, line, sizeof line) && strncmp(line, "0::/job", strlen("0::/job"));
}

int read_profile(pid_t pid, char *to, size_t bytes) { return read_line_of(pid, "attr/apparmor/current", to, bytes); }

/* ---- limits ---- */

struct lowering {
  int number;
  uint64_t value;
};

static int lower_one(pid_t pid, const void *given, uint32_t *touched) {
  const struct lowering *to = given;
  struct rlimit has;
  if (prlimit(pid, to->number, NULL, &has) < 0) return errno;
  if (has.rlim_max <= to->value && has.rlim_cur <= to->value) return 0;
  if (has.rlim_max > to->value) has.rlim_max = to->value;
  if (has.rlim_cur > to->value) has.rlim_cur = to->value;
  if (prlimit(pid, to->number, &has, NULL) < 0) return errno;
  ++*touched;
  return 0;
}

int lower_limits(int number, uint64_t value, uint32_t *touched) {
  const struct lowering to = {number, value};
  return for_all(lower_one, &to, touched);
}

int lower_limit(int which, uint64_t value, uint32_t *touched) {
  if (value < limits[which]) limits[which] = value;
  int error = limit_numbers[which] == RLIMIT_NPROC ? limit_tasks(limits[which]) : 0;
  int failed = lower_limits(limit_numbers[which], limits[which], touched);
  return error ? error : failed;
}

/* ---- writers ---- */

struct writers {
  const char *path;
  /* Excluded folder below `path`, or null. */
  const char *except;
  /* Consecutive passes that must see a process as a writer before the one that kills it. */
  int looks;
};

static int is_below(const char *path, const char *folder) {
  size_t length = strlen(folder);
  if (!strcmp(folder, "/")) return path[0] == '/';
  return !strncmp(path, folder, length) && (path[length] == '/' || path[length] == 0 || !strcmp(path + length, " (deleted)"));
}

static int counts(const char *path, const struct writers *of) {
  return is_below(path, of->path) && !(of->except && is_below(path, of->except));
}

/* True if the descriptor is open for writing, by its flags in fdinfo, and if those cannot be read. */
static int writes(pid_t pid, const char *task, const char *number) {
  char path[96], text[256];
  snprintf(path, sizeof path, "task/%.16s/fdinfo/%.16s", task, number);
  int fd = open_of(pid, path, O_RDONLY);
  if (fd < 0) return errno != ENOENT;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  text[n > 0 ? n : 0] = 0;
  const char *flags = strstr(text, "flags:");
  return !flags || (strtoul(flags + 6, NULL, 8) & O_ACCMODE) != O_RDONLY;
}

/*
 * True if an open file prevents a read-only remount, and if that cannot be determined. Devices, pipes and unnamed memory do not.
 */
static int is_on_mount(int folder, const char *number) {
  struct statx seen;
  if (statx(folder, number, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE, &seen) < 0) return errno != ENOENT;
  dev_t device = makedev(seen.stx_dev_major, seen.stx_dev_minor);
  return S_ISREG(seen.stx_mode) && (nameless == 0 || device != nameless);
}

/* 1, 0, or a negative errno. */
static int has_descriptor(pid_t pid, const char *task, const struct writers *of) {
  static struct walk walk;
  char path[96], target[PATH_BYTES_MAX + 1];
  int found = 0, seen = 0;
  snprintf(path, sizeof path, "task/%.16s/fd", task);
  walk = (struct walk){.fd = open_of(pid, path, O_RDONLY | O_DIRECTORY)};
  if (walk.fd < 0) return -errno;
  for (const char *name; !found && (name = next_name(&walk));) {
    if (name[0] == '.') continue;
    if (++seen > DESCRIPTORS_SEEN_MAX) found = 1;
    ssize_t n = readlinkat(walk.fd, name, target, sizeof target - 1);
    if (n <= 0) continue;
    target[n] = 0;
    if (counts(target, of) && is_on_mount(walk.fd, name) && writes(pid, task, name)) found = 1;
  }
  close(walk.fd);
  return found;
}

/* Line of /proc/PID/maps: "from-to perms offset device inode   path". */
static int is_shared_writer(char *line, const struct writers *of) {
  char *perms = strchr(line, ' ');
  char *path = strchr(line, '/');
  unsigned major = 0, minor = 0;
  if (!perms || !path || strlen(perms) <= 4 || perms[2] != 'w' || perms[4] != 's') return 0;
  int is_read = sscanf(perms + 5, " %*x %x:%x", &major, &minor) == 2;
  if (is_read && nameless != 0 && makedev(major, minor) == nameless) return 0;
  return counts(path, of);
}

/* 1, 0, or a negative errno: ESRCH if the task is exiting and has released its memory. */
static int has_mapping(pid_t pid, const char *task, const struct writers *of) {
  static char text[2 * PATH_BYTES_MAX + 512];
  char path[96];
  size_t have = 0, all = 0;
  snprintf(path, sizeof path, "task/%.16s/maps", task);
  int fd = open_of(pid, path, O_RDONLY), found = 0;
  if (fd < 0) return -errno;
  while (!found) {
    ssize_t n = read(fd, text + have, sizeof text - 1 - have);
    if (n <= 0) break;
    have += (size_t)n;
    all += (size_t)n;
    text[have] = 0;
    char *line = text;
    for (char *end; !found && (end = strchr(line, '\n')); line = end + 1) {
      *end = 0;
      found = is_shared_writer(line, of);
    }
    have -= (size_t)(line - text);
    memmove(text, line, have);
    if (have == sizeof text - 1 || all > MAPS_BYTES_MAX) found = 1;
  }
  close(fd);
  return all == 0 ? -ESRCH : found;
}

/* True for a zombie: it has no descriptors, and its /proc files are unreadable in a user namespace. */
static int has_ended(pid_t pid, const char *task) {
  char path[96], text[STAT_BYTES_MAX];
  snprintf(path, sizeof path, "task/%.16s/stat", task);
  const char *rest = read_stat(pid, path, text);
  return !rest || rest[1] == 'Z' || rest[1] == 'X';
}

/*
 * 1, 0, or a negative errno. Checks each thread: one may have its own descriptor table (unshare(2) with CLONE_FILES), and the main
 * thread may have exited before the others.
 */
static int is_writer(pid_t pid, const struct writers *of) {
  static struct walk walk;
  int found = 0, error = 0, seen = 0, has_memory = 0;
  walk = (struct walk){.fd = open_of(pid, "task", O_RDONLY | O_DIRECTORY)};
  if (walk.fd < 0) return -errno;
  for (const char *task; found <= 0 && (task = next_name(&walk));) {
    if (task[0] == '.') continue;
    if (++seen > TASKS_MAX) found = 1;
    else found = has_descriptor(pid, task, of);
    if (found == 0 && !has_memory) {
      found = has_mapping(pid, task, of);
      has_memory = found >= 0;
    }
    if (found < 0 && found != -ESRCH && found != -ENOENT && !has_ended(pid, task)) error = found;
  }
  close(walk.fd);
  return found > 0 ? 1 : error;
}

/* Writers seen by earlier passes. If the table is full, a further writer is killed at once. */
static struct {
  pid_t pid;
  int looks;
} known[KNOWN_MAX];

/* Counts consecutive passes that saw a process as a writer, including this one. `found` is 0 if it no longer is. */
static int count_looks(pid_t pid, int found, int looks_max) {
  int at = -1;
  for (int i = 0; i < KNOWN_MAX; i++)
    if (known[i].pid == pid || (at < 0 && known[i].pid == 0)) at = i;
  if (at < 0) return looks_max + 1;
  if (known[at].pid != pid) known[at].looks = 0;
  known[at].pid = found ? pid : 0;
  return found ? ++known[at].looks : 0;
}

/* A killed process keeps its files open until it has exited; it is not counted again. */
static int kill_if_writer(pid_t pid, const void *given, uint32_t *touched) {
  const struct writers *of = given;
  int found = is_writer(pid, of);
  if (found < 0) return found == -ENOENT ? ESRCH : -found;
  int looks = count_looks(pid, found, of->looks);
  if (found == 0) return 0;
  if (looks <= of->looks) return EAGAIN;
  if (kill(pid, SIGKILL) < 0) return errno;
  if (looks > of->looks + 1) return EAGAIN;
  ++*touched;
  return 0;
}

int kill_writers(const char *path, const char *except, int looks, uint32_t *touched) {
  const struct writers of = {path, except, looks};
  memset(known, 0, sizeof known);
  return for_all(kill_if_writer, &of, touched);
}

/* ---- status ---- */

/* Writes one status entry; 0 if the process is gone. Its name is untrusted, and may contain any byte but NUL. */
static int put_process(pid_t pid) {
  char text[STAT_BYTES_MAX], name[COMM_BYTES_MAX + 1] = "";
  unsigned long long user, system;
  long long pages;
  int parent;
  const char *rest = read_stat(pid, "stat", text);
  if (!rest) return 0;
  const char *from = strchr(text, '(') + 1;
  size_t length = (size_t)(rest - 1 - from);
  memcpy(name, from, length < COMM_BYTES_MAX ? length : COMM_BYTES_MAX);
  if (sscanf(rest, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u %lld", &parent,
             &user, &system, &pages) != 4)
    return 0;
  uint64_t tick_us = 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
  put_u32((uint32_t)pid);
  put_u32((uint32_t)parent);
  put_text(name);
  put_u64((user + system) * tick_us);
  put_u64((uint64_t)(pages > 0 ? pages : 0) * ((uint64_t)sysconf(_SC_PAGESIZE) / 1024));
  return 1;
}

void take_status(struct reader *from) {
  static struct walk walk;
  uint32_t nonce = take_u32(from), seen = 0;
  uint16_t written = 0;
  if (!is_whole(from)) end_agent(BAD_PAYLOAD);
  walk = (struct walk){.fd = proc < 0 ? -1 : openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (walk.fd < 0) return refuse(STATUS, nonce, STAGE_CHECK, proc < 0 ? ENOENT : errno);
  begin(STATUSED);
  put_u32(nonce);
  size_t all = put_hole(4);
  put_u64(memory_kills());
  put_u64(memory_in_use());
  put_u64(task_refusals());
  put_u32(tasks_in_use());
  put_u32(tasks_peak());
  put_u8(is_scratch_full() ? 1 : 0);
  size_t count = put_hole(2);
  for (pid_t pid; seen < PROCESSES_MAX && (pid = next_pid(&walk)) > 0;) {
    if (is_kernel_thread(pid)) continue;
    seen++;
    if (written < STATUS_MAX) written = (uint16_t)(written + put_process(pid));
  }
  close(walk.fd);
  fill_u32(all, seen);
  fill_u16(count, written);
  finish();
}

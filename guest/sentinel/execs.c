/*
 * Pending execs: reports, and approval by the warden.
 *
 * Problem: a program zone applies from the program's first instruction, so the process must be in the cgroup of the zone
 * before the exec; only the warden can move it.
 *
 * Mechanism: if the warden has requested it, an exec is delayed until the warden answers, or fails with EAGAIN after two
 * seconds. The warden receives the name, the file that it resolves to, and the interpreters of a script, as of that moment.
 * A path without an executable fails here, so that a search of PATH needs no message.
 *
 * Relies on: execve(2) on `#!` (256 bytes since Linux 5.1), SECCOMP_USER_NOTIF_FLAG_CONTINUE (Linux 5.5), statx(2).
 *
 * Not handled (TOCTOU): the kernel resolves the name again. The warden compares the running program afterwards, and kills one
 * that differs.
 */
#define _GNU_SOURCE
#include "execs.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "caller.h"
#include "control.h"
#include "lines.h"
#include "notify.h"
#include "paths.h"
#include "reports.h"
#include "wall.h"

enum { EXECS_MAX = 64, EXEC_MS_MAX = 2000, INTERPRETER_BYTES_MAX = 256 };
/* As many as the kernel follows. */
enum { INTERPRETERS_MAX = 5, QUOTED_BYTES_MAX = SHOWN_BYTES_MAX * 6 + 8 };

/* Pending execs, delayed until the warden has moved the process into its cgroup. */
static struct {
  struct seccomp_notif request;
  uint64_t until;
} execs[EXECS_MAX];
int exec_count;

int is_pending_exec(pid_t tid) {
  for (int i = 0; i < exec_count; i++)
    if ((pid_t)execs[i].request.pid == tid) return 1;
  return 0;
}

static void end_exec(int i, int error) {
  struct seccomp_notif request = execs[i].request;
  execs[i] = execs[--exec_count];
  if (!error && !(wall.allowed & 1 << EXEC)) error = wall.errors[EXEC];
  if (error) send_answer(request.id, 0, -error, 0);
  else continue_call(&request);
}

void expire_execs(void) {
  for (int i = exec_count - 1; i >= 0; i--)
    if (execs[i].until <= now_ns()) end_exec(i, EAGAIN);
}

/* Opens and names the interpreter of a script: the first word after `#!`, within the kernel's limit. No name: no script. */
static int open_interpreter(int path_fd, char *to, size_t room) {
  char name[64], line[INTERPRETER_BYTES_MAX + 1] = "";
  struct stat facts;
  to[0] = 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", path_fd);
  if (fstat(path_fd, &facts) || !S_ISREG(facts.st_mode)) return -1;
  /* O_NONBLOCK: a lease on the file must not block this open. */
  int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = read(fd, line, INTERPRETER_BYTES_MAX);
  close(fd);
  if (n < 2 || line[0] != '#' || line[1] != '!') return -1;
  char *at = line + 2 + strspn(line + 2, " \t");
  at[strcspn(at, " \t\n")] = 0;
  int by = *at == '/' ? open_below(wall.root, at, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT) : -1;
  snprintf(name, sizeof name, "/proc/self/fd/%d", by);
  if (by < 0 || link_to(name, to, room)) snprintf(to, room, "%s", at);
  return by;
}

/* Interpreters of a script, as a list in JSON: the first one may be a script too. Closes the file. */
static void quote_interpreters(int path_fd, char *to, size_t room) {
  char name[PATH_BYTES_MAX] = "", shown[QUOTED_BYTES_MAX];
  size_t have = 0;
  for (int i = 0; i < INTERPRETERS_MAX && path_fd >= 0; i++) {
    int by = open_interpreter(path_fd, name, sizeof name);
    close_copy(path_fd);
    path_fd = by;
    if (!name[0]) break;
    quote_end(shown, sizeof shown, name);
    have += (size_t)snprintf(to + have, room - have, "%s\"%s\"", have ? "," : "", shown);
  }
  if (path_fd >= 0) close(path_fd);
}

/* File that an exec would run if its path were resolved now; for reports. The final one may differ: the warden
 * checks again once it runs. */
static int resolve_program(pid_t pid, int folder, const char *path, int is_descriptor) {
  char whole[PATH_BYTES_MAX * 2];
  if (is_descriptor) return wall.is_kept ? open_descriptor(pid, folder) : copy_descriptor(pid, folder);
  int failed = absolute_path(pid, folder, path, whole, sizeof whole);
  return failed ? failed : open_below(wall.root, whole, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
}

/* Time of the last change (ctime), the only one that cannot be set: an overwritten file with restored mtime
 * still counts as new. Milliseconds of CLOCK_MONOTONIC; below 0 if unknown. */
static double written_at(int fd) {
  struct statx facts;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_CTIME, &facts) || !S_ISREG(facts.stx_mode)) return -1;
  double at = (double)facts.stx_ctime.tv_sec * 1e3 + (double)facts.stx_ctime.tv_nsec / 1e6;
  at += ((double)ns_of(CLOCK_MONOTONIC) - (double)ns_of(CLOCK_REALTIME)) / 1e6;
  return at < 0 ? 0 : at;
}

/* True if a canonical path is below the scratch. */
static int is_below_scratch(const char *real) {
  if (wall.is_kept) return !strncmp(real, wall.scratch_path, strlen(wall.scratch_path));
  static const char *const folders[] = {"/work/", "/tmp/", "/dev/shm/"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
    if (!strncmp(real, folders[i], strlen(folders[i]))) return 1;
  return 0;
}

/* Lookups along PATH fail in most folders: a missing file is reported only after more failures than PATH has
 * folders. A file created between this check and the kernel's own goes unreported. */
#define FAILED_LOOKUPS_MAX 32
static int is_failed_lookup(const char *path, int path_fd) {
  static int failures;
  if (path[0] && (path_fd == -ENOENT || path_fd == -ENOTDIR)) return ++failures <= FAILED_LOOKUPS_MAX;
  failures = 0;
  return 0;
}

void report_exec(const struct seccomp_notif *request, int is_denied) {
  const __u64 *args = request->data.args;
  pid_t pid = (pid_t)request->pid;
  int is_at = request->data.nr == SYS_execveat, folder = is_at ? (int)args[0] : AT_FDCWD;
  char path[PATH_BYTES_MAX] = "", real[PATH_BYTES_MAX] = "", name[64];
  if (read_text(pid, args[is_at ? 1 : 0], path, sizeof path)) path[0] = 0;
  int is_descriptor = is_at && !path[0] && args[4] & AT_EMPTY_PATH;
  double wrote = -1;
  int path_fd = is_descriptor || path[0] ? resolve_program(pid, folder, path, is_descriptor) : -ENOENT;
  if (!is_denied && is_failed_lookup(path, path_fd)) return;
  snprintf(name, sizeof name, "/proc/self/fd/%d", path_fd);
  if (!is_descriptor || path_fd < 0 || link_to(name, real, sizeof real))
    real_path(pid, folder, path, path_fd != -ELOOP, real, sizeof real);
  /* Magic link, resolved in user space: a scratch file may be unlinked, or its name may belong to another file. */
  if (path_fd == -ELOOP && is_below_scratch(real)) wrote = (double)ns_of(CLOCK_MONOTONIC) / 1e6;
  else if (path_fd == -ELOOP) path_fd = open_below(wall.root, real, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
  if (path_fd >= 0 && !is_system_path(real)) wrote = written_at(path_fd);
  if (path_fd >= 0) close_copy(path_fd);
  report_exec_time(pid, request->data.nr, EXEC, is_denied, 0, real, wrote);
}

/* Errno of an exec that must fail: the process stays unchanged, and tries the next folder of PATH. */
static int exec_error(int path_fd) {
  struct stat facts;
  /* A magic link, such as /proc/self/exe: it is read in user space, and its target checked once it runs. */
  if (path_fd == -ELOOP) return 0;
  if (path_fd < 0) return path_fd;
  if (fstat(path_fd, &facts)) return -EACCES;
  return S_ISREG(facts.st_mode) && facts.st_mode & 0111 ? 0 : -EACCES;
}

void defer_exec(const struct seccomp_notif *request) {
  const __u64 *args = request->data.args;
  pid_t pid = (pid_t)request->pid;
  int is_at = request->data.nr == SYS_execveat;
  char path[PATH_BYTES_MAX] = "", real[PATH_BYTES_MAX] = "", name[64], line[LINE_BYTES_MAX];
  char shown[2][QUOTED_BYTES_MAX], by[INTERPRETERS_MAX * (QUOTED_BYTES_MAX + 3)] = "";
  long group = status_of(pid, "\nTgid:", 10, 0);
  int failed = read_text(pid, args[is_at ? 1 : 0], path, sizeof path);
  if (failed || group <= 0) return send_answer(request->id, 0, failed ? failed : -EAGAIN, 0);
  int is_descriptor = is_at && !path[0] && args[4] & AT_EMPTY_PATH, folder = is_at ? (int)args[0] : AT_FDCWD;
  int path_fd = resolve_program(pid, folder, path, is_descriptor);
  failed = exec_error(path_fd);
  snprintf(name, sizeof name, "/proc/self/fd/%d", path_fd);
  /* A magic link, such as /proc/PID/exe or /proc/PID/fd/N: its name says nothing of the program. */
  if (path_fd == -ELOOP) {
    real_path(pid, folder, path, 0, real, sizeof real);
    path_fd = open_below(wall.root, real, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
  } else if (path_fd < 0 || link_to(name, real, sizeof real)) {
    real[0] = 0;
  }
  quote_interpreters(path_fd, by, sizeof by);
  if (failed) return send_answer(request->id, 0, failed, 0);
  if (!is_request_valid(request->id)) return;
  quote_end(shown[0], sizeof shown[0], path);
  quote_end(shown[1], sizeof shown[1], real);
  int n = snprintf(line, sizeof line,
                   "{\"kind\":\"asks\",\"id\":\"%llu\",\"pid\":%ld,\"path\":\"%s\",\"real\":\"%s\",\"by\":[%s]}\n",
                   (unsigned long long)request->id, group, shown[0], shown[1], by);
  if (exec_count == EXECS_MAX || !queue_line(OUT_BYTES_EXECS, line, n)) return send_answer(request->id, 0, -EAGAIN, 0);
  execs[exec_count].request = *request;
  execs[exec_count++].until = now_ns() + EXEC_MS_MAX * 1000000ull;
}

int answer_pending_exec(const uint8_t *at, size_t bytes) {
  if (bytes != 9) return 0;
  uint64_t id = (uint64_t)u32_at(at) | (uint64_t)u32_at(at + 4) << 32;
  for (int i = exec_count - 1; i >= 0; i--)
    if (execs[i].request.id == id) end_exec(i, at[8]);
  return 1;
}

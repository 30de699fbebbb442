/*
 * Phase commands: remount read-only, lower a limit, kill writers below a path, close all writing, lower the memory limit, replace the
 * profile. No command restores a right; a profile states the classes that it closes, which include those of the one before.
 *
 * All writing is closed by remounting each writable mount read-only. The remount fails (EBUSY) while a file of that mount is open or
 * mapped for writing: the agent waits for short writes, then kills the remaining writers. Its success proves that no descriptor and
 * no mapping can write, including descriptors in flight in a socket (SCM_RIGHTS). Programs cannot create mount namespaces (boot.c),
 * whose copies of the mounts would stay writable. The folder of the result stays writable.
 *
 * Relies on: mount_setattr(2), Linux 5.12; openat2(2), 5.6.
 *
 * Not handled: a path on a file system that the guest serves itself (FUSE) can block the agent; the host kills such a guest when its
 * request times out.
 */
#define _GNU_SOURCE
#include "phases.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "boot.h"
#include "group.h"
#include "policy.h"
#include "processes.h"
#include "programs.h"

/* Numeric, because <fcntl.h> and <linux/mount.h> of some distributions define conflicting names. */
enum { EMPTY_PATH = 0x1000, RECURSIVE = 0x8000 };

static int remount_read_only(const char *path, unsigned flags) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (fd < 0) return errno;
  int error = syscall(SYS_mount_setattr, fd, "", EMPTY_PATH | flags, &attr, sizeof attr) < 0 ? errno : 0;
  close(fd);
  return error;
}

/*
 * Pauses double from attempt to attempt: 31 ms in total for writers to close their files, and again after each kill. A program that
 * repeatedly opens, writes and closes is seldom seen as a writer by five checks in a row, so it is seldom killed.
 */
enum { REMOUNTS = 6, KILLS = 3, LOOKS = 4, REMOUNT_PAUSE_NS = 1000000 };

/* Mounts that programs can write to. Other mounts contain only files of the kernel. */
static const char *const places[] = {"/tmp", "/dev/shm", "/run", "/"};

static int remount_in_time(const char *path) {
  int error = EBUSY;
  for (int i = 0; i < REMOUNTS && error == EBUSY; i++) {
    const struct timespec pause = {0, REMOUNT_PAUSE_NS << i >> 1};
    if (i > 0) nanosleep(&pause, NULL);
    error = remount_read_only(path, 0);
  }
  return error == EINVAL || error == ENOENT ? 0 : error;
}

static int close_place(const char *path, uint32_t *touched) {
  uint32_t killed;
  int error = remount_in_time(path);
  for (int i = 0; i < KILLS && error == EBUSY; i++) {
    kill_writers(path, RESULT_FOLDER, LOOKS, &killed);
    *touched += killed;
    error = remount_in_time(path);
  }
  return error;
}

/* Tries each mount, even if one fails. */
static int close_writing(uint32_t *touched) {
  int error = 0;
  *touched = 0;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    int failed = close_place(places[i], touched);
    if (failed) error = failed;
  }
  return error;
}

/* True for an absolute path without empty parts, "." or "..", and without newlines, which /proc/PID/maps escapes. */
static int is_plain(const char *path) {
  if (path[0] != '/' || strchr(path, '\n')) return 0;
  if (path[1] == 0) return 1;
  for (const char *part = path; part; part = strchr(part + 1, '/')) {
    size_t length = strcspn(part + 1, "/");
    if (length == 0 || (length == 1 && part[1] == '.') || (length == 2 && part[1] == '.' && part[2] == '.')) return 0;
  }
  return 1;
}

void take_phase(struct reader *from) {
  uint32_t nonce = take_u32(from), touched = 0;
  uint8_t command = take_u8(from);
  uint8_t which = command == PHASE_LIMIT ? take_u8(from) : 0;
  uint64_t value = command == PHASE_LIMIT || command == PHASE_MEMORY ? take_u64(from) : 0;
  int has_path = command == PHASE_READ_ONLY || command == PHASE_WRITERS;
  const char *path = has_path ? take_text(from, 1, PATH_BYTES_MAX) : "/";
  uint8_t closes = command == PHASE_POLICY ? take_u8(from) : 0;
  size_t policy_bytes = command == PHASE_POLICY && !from->bad ? from->left : 0;
  const uint8_t *policy = take_rest(from, policy_bytes);
  if (!is_whole(from) || command < PHASE_READ_ONLY || command > PHASE_POLICY || which >= LIMITS) end_agent(BAD_PAYLOAD);
  int error = !is_plain(path)                ? EINVAL
              : command == PHASE_READ_ONLY ? remount_read_only(path, RECURSIVE)
              : command == PHASE_LIMIT     ? lower_limit(which, value, &touched)
              : command == PHASE_MEMORY    ? limit_memory(value)
              : command == PHASE_POLICY    ? replace_policy(closes, policy, policy_bytes)
              : command == PHASE_WRITERS   ? kill_writers(path, NULL, 0, &touched)
                                           : close_writing(&touched);
  begin(PHASED);
  put_u32(nonce);
  put_u16((uint16_t)error);
  put_u32(touched);
  finish();
}

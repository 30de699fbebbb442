/*
 * Phase commands: remount read-only, lower a limit, kill those that may write below a path. No command undoes one.
 *
 * Relies on: mount_setattr(2), Linux 5.12; openat2(2), 5.6. A remount fails (EBUSY) while a file of the mount is open for
 * writing, so the kill goes first.
 *
 * Not handled: a path below a file system that the guest serves itself (FUSE) can hold the agent up; the host's own time limit
 * for each question ends such a guest.
 */
#define _GNU_SOURCE
#include "phases.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "processes.h"
#include "programs.h"

/* By number: <fcntl.h> and <linux/mount.h> of some distributions clash over their names. */
enum { EMPTY_PATH = 0x1000, RECURSIVE = 0x8000 };

static int remount_read_only(const char *path) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (fd < 0) return errno;
  int error = syscall(SYS_mount_setattr, fd, "", EMPTY_PATH | RECURSIVE, &attr, sizeof attr) < 0 ? errno : 0;
  close(fd);
  return error;
}

static int lower(uint8_t which, uint64_t value, uint32_t *touched) {
  if (value < limits[which]) limits[which] = value;
  return lower_limits(limit_numbers[which], value, touched);
}

/* Absolute, without empty parts, "." or "..", and without a newline, as /proc/PID/maps escapes those. */
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
  uint64_t value = command == PHASE_LIMIT ? take_u64(from) : 0;
  const char *path = command == PHASE_LIMIT ? "/" : take_text(from, 1, PATH_BYTES_MAX);
  if (!is_whole(from) || command < PHASE_READ_ONLY || command > PHASE_WRITERS || which >= LIMITS) end_agent(BAD_PAYLOAD);
  int error = !is_plain(path)                ? EINVAL
              : command == PHASE_READ_ONLY ? remount_read_only(path)
              : command == PHASE_LIMIT     ? lower(which, value, &touched)
                                           : kill_writers(path, &touched);
  begin(PHASED);
  put_u32(nonce);
  put_u16((uint16_t)error);
  put_u32(touched);
  finish();
}

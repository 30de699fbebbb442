/*
 * Problem: a job may have less memory than its machine, and the host's own limit, on the machine as a whole, has to leave room for
 * translated code and for files that the guest's kernel keeps. Within that room a job would exceed its bound unseen.
 *
 * Mechanism: one control group (cgroup v2) for the runner and all that it starts. Agent and carrier are outside of it. The limit is
 * above what was in use when the machine was claimed, is read back after each write, and never raised. Above it the kernel
 * ends all of the group at once (memory.oom.group), so that no half of a job goes on.
 *
 * Relies on: a kernel with a controller for memory that no cgroup v1 has taken. That of Debian has one, its user-mode kernel none.
 *
 * Not handled: root in the guest, which raises the limit or leaves the group: the host's own limit stays. Files in memory count
 * as memory, so the host adds the size of the scratch.
 */
#define _GNU_SOURCE
#include "group.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "programs.h"

enum { TEXT_BYTES_MAX = 1024 };

static int group = -1;
static uint64_t idle, limit = UINT64_MAX;

static int write_text(int folder, const char *name, const char *text) {
  int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ssize_t n = write(fd, text, strlen(text));
  int error = n < 0 ? errno : 0;
  close(fd);
  return error;
}

/* Text of a file of the group; empty where it cannot be read. */
static const char *read_text(const char *name) {
  static char text[TEXT_BYTES_MAX];
  int fd = group < 0 ? -1 : openat(group, name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = 0;
  return text;
}

/* Descriptor of the group's processes, or -1 without a group. */
static int make_group(void) {
  if (mount("cgroup2", GROUPS_FOLDER, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return -1;
  int top = open(GROUPS_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (top < 0) return -1;
  int error = write_text(top, "cgroup.subtree_control", "+memory");
  if (!error && mkdirat(top, "job", 0700) < 0) error = errno;
  if (!error) group = openat(top, "job", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(top);
  if (group < 0) return -1;
  int members = write_text(group, "memory.oom.group", "1") ? -1 : openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  if (members < 0) {
    close(group);
    group = -1;
  }
  return members;
}

int open_group(void) {
  int members = make_group();
  if (members < 0) members = open("/dev/null", O_WRONLY | O_CLOEXEC);
  return members >= 0 && add_descriptor("group", members);
}

int limit_memory(uint64_t bytes) {
  char text[32];
  if (group < 0) return ENOSYS;
  if (limit == UINT64_MAX) idle = memory_in_use();
  if (bytes >= UINT64_MAX - idle) return EINVAL;
  if (idle + bytes < limit) limit = idle + bytes;
  snprintf(text, sizeof text, "%llu", (unsigned long long)limit);
  int error = write_text(group, "memory.max", text);
  if (error) return error;
  /* The kernel rounds down to pages; "max" reads as 0 here, and is no limit. */
  uint64_t holds = strtoull(read_text("memory.max"), NULL, 10);
  return holds == 0 && limit >= 4096 ? EIO : holds > limit ? EIO : 0;
}

uint64_t memory_in_use(void) { return strtoull(read_text("memory.current"), NULL, 10); }

uint64_t memory_kills(void) {
  const char *line = strstr(read_text("memory.events"), "oom_kill ");
  return line ? strtoull(line + strlen("oom_kill "), NULL, 10) : 0;
}

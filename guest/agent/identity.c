/*
 * Problem: a copy of a running guest has the same identity: machine id, boot id, labels. The kernel generates a boot id only once, and
 * writing may have been closed for the job, so that no file of the root is writable.
 *
 * Mechanism: files of a tmpfs of the agent are bind-mounted over the files with the identity, as systemd-nspawn does for the boot id
 * of a container. Mounting over a file needs no write access. The mounts of an earlier copy are removed first.
 *
 * Relies on Linux 5.12 (open_tree, move_mount, mount_setattr). Not handled: a program that has the earlier file open keeps reading
 * it; root in the guest can unmount.
 */
#define _GNU_SOURCE
#include "identity.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numeric, because <sys/mount.h> and <linux/mount.h> of some distributions define conflicting names. */
enum { TREE_CLONE = 1, TREE_CLOEXEC = O_CLOEXEC, EMPTY_FROM = 4, EMPTY_PATH = 0x1000, DETACHES = 2, FOLLOWS_NO_LINK = 8 };
/* nosuid, nodev, noexec. */
enum { CLOSED = 2 | 4 | 8, UUID_BYTES = 16 };

static int folder = -1;

int open_identity(void) {
  if (syscall(SYS_mount, "tmpfs", IDENTITY_FOLDER, "tmpfs", CLOSED, "mode=0755,size=64k,nr_inodes=64") < 0) return 0;
  folder = open(IDENTITY_FOLDER, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return folder >= 0;
}

int has_identity(void) { return folder >= 0; }

static int write_new(const char *name, const char *text) {
  size_t length = strlen(text);
  if (unlinkat(folder, name, 0) < 0 && errno != ENOENT) return errno;
  int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  if (fd < 0) return errno;
  ssize_t n = write(fd, text, length);
  int error = n < 0 ? errno : (size_t)n == length ? 0 : ENOSPC;
  close(fd);
  return error;
}

int put_over(const char *name, const char *text, const char *target) {
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
  int error = folder < 0 ? ENOENT : write_new(name, text);
  if (error) return error;
  /* EINVAL: there is no mount of an earlier copy. */
  if (syscall(SYS_umount2, target, DETACHES | FOLLOWS_NO_LINK) < 0 && errno != EINVAL) return errno;
  int tree = (int)syscall(SYS_open_tree, folder, name, TREE_CLONE | TREE_CLOEXEC);
  if (tree < 0) return errno;
  if (syscall(SYS_mount_setattr, tree, "", EMPTY_PATH, &attr, sizeof attr) < 0 ||
      syscall(SYS_move_mount, tree, "", AT_FDCWD, target, EMPTY_FROM) < 0)
    error = errno;
  close(tree);
  return error;
}

int renew_boot_id(void) {
  uint8_t id[UUID_BYTES];
  char text[UUID_BYTES * 2 + 6], *at = text;
  if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id) return EAGAIN;
  /* Version 4 (random) and variant of RFC 9562, like the kernel's. */
  id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
  id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
  for (int i = 0; i < UUID_BYTES; i++)
    at += snprintf(at, sizeof text - (size_t)(at - text), "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i]);
  strcpy(at, "\n");
  return put_over("boot_id", text, "/proc/sys/kernel/random/boot_id");
}

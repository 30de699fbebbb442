/*
 * Problem: the guest writes this folder while it is listed, and names and links in it are its own.
 *
 * Mechanism: paths are resolved below one descriptor, without symlinks and mounts (openat2(2)); entries are looked at
 * without following them, and without asking a file system that the guest may serve (AT_STATX_DONT_SYNC). One answer has a
 * bounded number of entries, and the host asks on by how many it has.
 *
 * Not handled: a list is no snapshot. What moves between two questions may come twice or not at all.
 */
#define _GNU_SOURCE
#include "overlay.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };

struct entry64 {
  uint64_t inode;
  int64_t next;
  unsigned short length;
  unsigned char type;
  char name[];
};

static int overlay = -1;

int open_overlay(const char *path) {
  overlay = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return overlay >= 0;
}

static void put_entry(int folder, const struct entry64 *entry) {
  struct statx seen;
  memset(&seen, 0, sizeof seen);
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  if (statx(folder, entry->name, flags, STATX_SIZE | STATX_MTIME, &seen) < 0) memset(&seen, 0, sizeof seen);
  put_text(entry->name);
  put_u8(entry->type);
  put_u64(seen.stx_size);
  put_u64(seen.stx_mtime.tv_sec < 0 ? 0 : (uint64_t)seen.stx_mtime.tv_sec * 1000000000u + seen.stx_mtime.tv_nsec);
}

/* Returns the number of entries written; *more says whether there are others. */
static uint16_t put_entries(int folder, uint32_t skip, int *more) {
  static _Alignas(struct entry64) char bytes[8192];
  uint16_t written = 0;
  for (long have; (have = syscall(SYS_getdents64, folder, bytes, sizeof bytes)) > 0;) {
    for (long at = 0; at < have;) {
      const struct entry64 *entry = (const struct entry64 *)(bytes + at);
      at += entry->length;
      if (!strcmp(entry->name, ".") || !strcmp(entry->name, "..")) continue;
      if (skip > 0) {
        skip--;
        continue;
      }
      *more = written == ENTRIES_MAX;
      if (*more) return written;
      put_entry(folder, entry);
      written++;
    }
  }
  return written;
}

void take_list(struct reader *from) {
  uint32_t nonce = take_u32(from), skip = take_u32(from);
  const char *path = take_text(from, 0, PATH_BYTES_MAX);
  if (!is_whole(from) || skip > SKIP_MAX) end_agent(BAD_PAYLOAD);
  struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC, .resolve = RESOLVE};
  int more = 0, error = 0;
  int folder = overlay < 0 ? -1 : (int)syscall(SYS_openat2, overlay, path[0] ? path : ".", &how, sizeof how);
  if (folder < 0) error = overlay < 0 ? ENOENT : errno;
  begin(LISTED);
  put_u32(nonce);
  put_u16((uint16_t)error);
  size_t is_more = put_hole(1), count = put_hole(2);
  if (folder >= 0) fill_u16(count, put_entries(folder, skip, &more));
  if (more) fill_u8(is_more, 1);
  finish();
  if (folder >= 0) close(folder);
}

/*
 * Problem: the guest changes these folders while they are listed and read, and chooses the names and links in them.
 *
 * Mechanism: paths are resolved below one descriptor, without symlinks and mounts (openat2(2)); entries are examined without
 * following them, and without a request to a file system that the guest may serve (AT_STATX_DONT_SYNC). An answer has a bounded
 * number of entries or bytes; the host continues with an offset. Only regular files are read, and the targets of links, so that no
 * FIFO or device can block the agent.
 *
 * Not handled: unless the job is frozen, a list is no snapshot: an entry renamed between two requests may be listed twice or not at
 * all.
 */
#define _GNU_SOURCE
#include "overlay.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "boot.h"

enum { RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };

struct entry64 {
  uint64_t inode;
  int64_t next;
  unsigned short length;
  unsigned char type;
  char name[];
};

/*
 * Blocks, and inodes, that a full tmpfs may have left: a write of many pages is refused with one block free, and a runner removes files
 * of its own as it ends.
 */
enum { SCRATCH = 2, FREE_MAX = 16 };

static int overlay = -1, scratch[SCRATCH] = {-1, -1};

static const char *const places[PLACES] = {
    [PLACE_TMP] = "/tmp",           [PLACE_SHM] = "/dev/shm", [PLACE_RUN] = "/run",
    [PLACE_RESULT] = RESULT_FOLDER, [PLACE_PROC] = "/proc",
};

int open_overlay(const char *path) {
  overlay = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return overlay >= 0;
}

void open_scratch(void) {
  static const uint8_t of[] = {PLACE_TMP, PLACE_SHM};
  for (size_t i = 0; i < SCRATCH; i++) scratch[i] = open(places[of[i]], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int is_full(int fd) {
  struct statfs fs;
  if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC || fs.f_blocks == 0) return 0;
  return fs.f_bfree <= FREE_MAX || fs.f_ffree <= FREE_MAX;
}

int is_scratch_full(void) { return is_full(overlay) || is_full(scratch[0]) || is_full(scratch[1]); }

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

/* Returns the number of entries written; *more is set if there are others. */
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

/* Descriptor of a file below one of the folders, or -1 with errno. */
static int open_below(uint8_t place, const char *path, uint64_t flags) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE};
  int top = place == PLACE_OVERLAY ? overlay : open(places[place], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (top < 0) {
    if (place == PLACE_OVERLAY) errno = ENOENT;
    return -1;
  }
  int fd = (int)syscall(SYS_openat2, top, path[0] ? path : ".", &how, sizeof how), error = errno;
  if (place != PLACE_OVERLAY) close(top);
  errno = error;
  return fd;
}

static void put_list(uint32_t nonce, uint32_t skip, uint8_t place, const char *path) {
  int more = 0, folder = open_below(place, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
  begin(LISTED);
  put_u32(nonce);
  put_u16((uint16_t)(folder < 0 ? errno : 0));
  size_t is_more = put_hole(1), count = put_hole(2);
  if (folder >= 0) fill_u16(count, put_entries(folder, skip, &more));
  if (more) fill_u8(is_more, 1);
  finish();
  if (folder >= 0) close(folder);
}

void take_list(struct reader *from) {
  uint32_t nonce = take_u32(from), skip = take_u32(from);
  const char *path = take_text(from, 0, PATH_BYTES_MAX);
  if (!is_whole(from) || skip > SKIP_MAX) end_agent(BAD_PAYLOAD);
  put_list(nonce, skip, PLACE_OVERLAY, path);
}

void take_look(struct reader *from) {
  uint32_t nonce = take_u32(from);
  uint8_t place = take_u8(from);
  uint32_t skip = take_u32(from);
  const char *path = take_text(from, 0, PATH_BYTES_MAX);
  if (!is_whole(from) || skip > SKIP_MAX || place >= PLACES) end_agent(BAD_PAYLOAD);
  put_list(nonce, skip, place, path);
}

struct part {
  int is_link;
  struct stat is;
  ssize_t bytes;
};

/* Reads a part of a regular file, or the target of a link. Returns 0 or an errno. */
static int read_part(uint8_t place, const char *path, uint64_t offset, uint32_t bytes, uint8_t *to, struct part *part) {
  int at = open_below(place, path, O_PATH | O_NOFOLLOW), error = 0;
  if (at < 0) return errno;
  if (fstat(at, &part->is) < 0) error = errno;
  part->is_link = !error && S_ISLNK(part->is.st_mode);
  if (!error && !part->is_link && !S_ISREG(part->is.st_mode)) error = EINVAL;
  if (part->is_link) part->bytes = readlinkat(at, "", (char *)to, bytes);
  close(at);
  if (error || part->is_link) return error ? error : part->bytes < 0 ? errno : 0;
  int fd = open_below(place, path, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK);
  if (fd < 0) return errno;
  part->bytes = pread(fd, to, bytes, (off_t)offset);
  if (part->bytes < 0) error = errno;
  close(fd);
  return error;
}

void take_read(struct reader *from) {
  static uint8_t chunk[CHUNK_BYTES_MAX];
  struct part part;
  memset(&part, 0, sizeof part);
  uint32_t nonce = take_u32(from);
  uint8_t place = take_u8(from);
  uint64_t offset = take_u64(from);
  uint32_t bytes = take_u32(from);
  const char *path = take_text(from, 1, PATH_BYTES_MAX);
  if (!is_whole(from) || place >= PLACES || bytes == 0 || bytes > CHUNK_BYTES_MAX || offset > INT64_MAX)
    end_agent(BAD_PAYLOAD);
  int error = read_part(place, path, offset, bytes, chunk, &part);
  begin(CHUNK);
  put_u32(nonce);
  put_u16((uint16_t)error);
  put_u8(part.is_link ? 2 : 1);
  put_u32((uint32_t)part.is.st_mode);
  put_u32((uint32_t)part.is.st_uid);
  put_u64((uint64_t)part.is.st_size);
  if (!error) put_bytes(chunk, (size_t)part.bytes);
  finish();
}

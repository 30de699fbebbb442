/*
 * Path resolution for a caller: once, to an O_PATH descriptor that is then judged and used (no TOCTOU).
 *
 * Problem. The caller's memory may change after it was read, and a path may lead elsewhere after it was judged. In /proc,
 * `self` and magic links depend on the process that follows them, which would be this one.
 *
 * Mechanism. One openat2(2) with O_PATH and RESOLVE_NO_MAGICLINKS, starting at the caller's working or base folder. If it
 * meets a magic link or leads to /proc, the path is walked name by name instead: `self` is the caller, a magic link to a
 * descriptor yields a duplicate of that descriptor, and of /proc/PID of this process and its helpers only world-readable
 * files are opened. Rules are applied to the kernel's name of the descriptor (the link in /proc/self/fd). This process makes
 * all renames of the wall, one call after another, so none of its own happens between resolution and use; for those of other
 * walls see turn.c.
 *
 * The streams that the command was given are files of the caller's mounts, which neither the root of the wall nor its rules hold:
 * they are known by their mount, and a descriptor of one gives the rights that it has, and no others.
 *
 * Relies on openat2(2), proc(5), statx(2) with STATX_MNT_ID (Linux 5.8), pidfd_getfd(2) in the sentinel's caller.c.
 *
 * Not handled: links below /proc/PID/ns and /proc/PID/map_files (EACCES).
 */
#define _GNU_SOURCE
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../sentinel/caller.h"
#include "../launcher/steps.h"
#include "opens.h"
#include "unkept.h"

enum { LINKS_MAX = 40, STEPS_MAX = 512, PROC_ROOT_INODE = 1 };

static int own_fds = -1, proc_root = -1;
static dev_t proc_device, scratch_device;

/* Streams of the caller; `mount` is -1 for one that is closed, or the wall's terminal. The mounts of pipes and sockets are those
 * of all of them: such a stream is known by its inode as well. A file of memory needs none, since the wall can make no other. */
static struct {
  int64_t mount;
  dev_t dev;
  ino_t ino;
  int is_nameless;
} streams[3] = {{.mount = -1}, {.mount = -1}, {.mount = -1}};

void open_proc_folders(void) {
  struct stat facts;
  own_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
  proc_root = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(own_fds >= 0 && proc_root >= 0 && fstat(proc_root, &facts) == 0, "/proc");
  proc_device = facts.st_dev;
  must(stat("/dev/shm", &facts) == 0, "/dev/shm");
  scratch_device = facts.st_dev;
}

int is_host_file(const struct stat *facts) {
  return facts->st_dev != proc_device && facts->st_dev != scratch_device;
}

int canonical_path(int fd, char *to, size_t room) {
  char name[16];
  snprintf(name, sizeof name, "%d", fd);
  ssize_t n = readlinkat(own_fds, name, to, room - 1);
  if (n <= 0 || (size_t)n >= room - 1) return -ENAMETOOLONG;
  to[n] = 0;
  return 0;
}

int reopen(int fd, uint64_t flags) {
  char name[16];
  snprintf(name, sizeof name, "%d", fd);
  int again = openat(own_fds, name, (int)flags);
  return again < 0 ? -errno : again;
}

void fd_path(int fd, char *to, size_t room) {
  snprintf(to, room, "/proc/self/fd/%d", fd);
}

/* ---- streams of the caller ---- */

/* Id of the mount of a descriptor's file; -1 if unknown. 0 is that of files of memory (memfd_create). By its place in struct
 * statx, which a C library may know without it. */
static int64_t mount_of(int fd) {
  enum { MOUNT_ID = 0x1000, MOUNT_ID_AT = 18, WORDS = 32 };
  uint64_t words[WORDS] = {0};
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, MOUNT_ID, words)) return -1;
  return words[0] & MOUNT_ID ? (int64_t)words[MOUNT_ID_AT] : -1;
}

void find_streams(void) {
  static char path[PATH_BYTES];
  struct stat facts;
  for (int fd = 0; fd < 3; fd++) {
    if (options.terminals & 1 << fd || fstat(fd, &facts)) continue;
    errno = EISDIR;
    must(!S_ISDIR(facts.st_mode), "a standard stream");
    errno = ENAMETOOLONG;
    must(canonical_path(fd, path, sizeof path) == 0, "a standard stream");
    errno = ENOSYS;
    must((streams[fd].mount = mount_of(fd)) >= 0, "a standard stream");
    streams[fd].dev = facts.st_dev;
    streams[fd].ino = facts.st_ino;
    streams[fd].is_nameless = *path != '/';
  }
}

int stream_rights(const struct target *target) {
  static const int rights[] = {[O_RDONLY] = READING, [O_WRONLY] = WRITING, [O_RDWR] = READING | WRITING};
  int64_t mount = target->fd >= 0 ? mount_of(target->fd) : -1;
  for (int i = 0; mount >= 0 && i < 3; i++) {
    int is_same = streams[i].dev == target->facts.st_dev && streams[i].ino == target->facts.st_ino;
    if (streams[i].mount != mount || (streams[i].is_nameless && !is_same)) continue;
    int flags = fcntl(target->fd, F_GETFL);
    return flags < 0 || flags & O_PATH || (flags & O_ACCMODE) > O_RDWR ? 0 : rights[flags & O_ACCMODE];
  }
  return -1;
}

static int open_path(int folder, const char *path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {.flags = flags | O_PATH | O_CLOEXEC, .resolve = resolve};
  int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
  return fd < 0 ? -errno : fd;
}

/* Opens the folder to which a path is relative; AT_FDCWD for an absolute path, else a descriptor or a negative errno. */
static int base_of(const struct seccomp_notif *request, int folder, const char *path) {
  char name[64];
  if (*path == '/') return AT_FDCWD;
  if (folder == AT_FDCWD) {
    snprintf(name, sizeof name, "%u/cwd", request->pid);
    int fd = openat(proc_root, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -EACCES : fd;
  }
  int fd = copy_descriptor((pid_t)request->pid, folder);
  if (fd < 0) return fd;
  struct stat facts;
  if (fstat(fd, &facts) == 0 && S_ISDIR(facts.st_mode)) return fd;
  close_copy(fd);
  return -ENOTDIR;
}

/* ---- walk by name ---- */

struct walk {
  const struct seccomp_notif *request;
  char rest[PATH_BYTES * 2];
  int at, links, steps;
};

/* PID of the /proc/PID folder that contains a descriptor's file; 0 if there is none. */
static long proc_pid_of(int fd) {
  static char path[PATH_BYTES];
  if (canonical_path(fd, path, sizeof path) || strncmp(path, "/proc/", 6)) return 0;
  return strtol(path + 6, NULL, 10);
}

/* World-readable files of /proc/PID. */
static int is_public(const char *name) {
  static const char *const names[] = {"stat", "statm", "status", "cmdline", "comm", "limits", "cgroup"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(name, names[i])) return 1;
  return 0;
}

/* Opens one name of /proc as seen by the caller. */
static int open_in_proc(struct walk *walk, int folder, const char *name, const struct stat *where) {
  char own[64];
  pid_t tid = (pid_t)walk->request->pid;
  if (where->st_ino == PROC_ROOT_INODE && (!strcmp(name, "self") || !strcmp(name, "thread-self"))) {
    long group = status_of(tid, "\nTgid:", 10, 0);
    if (*name == 's') snprintf(own, sizeof own, "%ld", group);
    else snprintf(own, sizeof own, "%ld/task/%d", group, tid);
    return open_path(proc_root, own, O_DIRECTORY, 0);
  }
  long process = proc_pid_of(folder);
  if (process > 0 && is_own_process((pid_t)process) && !is_public(name)) return -EACCES;
  return open_path(folder, name, O_NOFOLLOW, 0);
}

/* Follows a magic link: fd/N by duplicating the descriptor; cwd, root and exe by opening the target. */
static int follow_magic_link(int folder, int link, const char *name) {
  static char path[PATH_BYTES];
  long process = proc_pid_of(folder);
  if (process <= 0 || is_own_process((pid_t)process) || canonical_path(link, path, sizeof path)) return -EACCES;
  if (strstr(path, "/fd/")) return copy_descriptor((pid_t)process, atoi(name));
  if (strstr(path, "/ns/") || strstr(path, "/map_files/")) return -EACCES;
  return open_path(folder, name, 0, 0);
}

/* Prepends the target of a symbolic link to the remaining path; returns the folder in which the walk continues. */
static int splice_link(struct walk *walk, int folder, int link) {
  static char text[PATH_BYTES], next[PATH_BYTES * 2];
  ssize_t n = readlinkat(link, "", text, sizeof text - 1);
  if (n <= 0 || ++walk->links > LINKS_MAX) return n <= 0 ? -ENOENT : -ELOOP;
  text[n] = 0;
  if (snprintf(next, sizeof next, "%s/%s", text, walk->rest + walk->at) >= (int)sizeof next) return -ENAMETOOLONG;
  strcpy(walk->rest, next);
  walk->at = 0;
  if (*text != '/') return folder;
  close(folder);
  return open_path(AT_FDCWD, "/", O_DIRECTORY, 0);
}

/* Resolves one name in `folder`. Always closes `folder`, unless it returns the same descriptor. */
static int walk_one(struct walk *walk, int folder, const char *name, int follows) {
  struct stat where, facts;
  int is_proc = fstat(folder, &where) == 0 && where.st_dev == proc_device;
  int next = is_proc ? open_in_proc(walk, folder, name, &where) : open_path(folder, name, O_NOFOLLOW, 0);
  if (next < 0 || fstat(next, &facts)) {
    close_copy(folder);
    return next < 0 ? next : -EACCES;
  }
  if (!S_ISLNK(facts.st_mode) || !follows) {
    close_copy(folder);
    return next;
  }
  /* Links below /proc/PID are magic, those above it plain. */
  int is_magic = is_proc && proc_pid_of(folder) > 0;
  int found = is_magic ? follow_magic_link(folder, next, name) : splice_link(walk, folder, next);
  close(next);
  if (is_magic || found < 0) close(folder);
  return found;
}

static int walk_from(const struct seccomp_notif *request, int base, const char *path, int follows) {
  static struct walk walk;
  walk = (struct walk){.request = request};
  if (snprintf(walk.rest, sizeof walk.rest, "%s", path) >= (int)sizeof walk.rest) return -ENAMETOOLONG;
  int at = base == AT_FDCWD ? open_path(AT_FDCWD, "/", O_DIRECTORY, 0) : fcntl(base, F_DUPFD_CLOEXEC, 0);
  while (at >= 0) {
    char name[NAME_BYTES];
    walk.at += (int)strspn(walk.rest + walk.at, "/");
    size_t length = strcspn(walk.rest + walk.at, "/");
    if (!length) return at;
    if (length >= sizeof name || ++walk.steps > STEPS_MAX) {
      close_copy(at);
      return -ENAMETOOLONG;
    }
    memcpy(name, walk.rest + walk.at, length);
    name[length] = 0;
    walk.at += (int)length;
    /* With a trailing slash, a link as the last name is followed too. */
    at = walk_one(&walk, at, name, follows || walk.rest[walk.at] != 0);
  }
  return at;
}

/* Files that the caller could otherwise open with the ptrace access of this process, or as this process, by an O_PATH
 * descriptor: memory of any, and of this one and its helpers all that is not world-readable. */
static int is_private_file(const char *path) {
  const char *last = strrchr(path, '/');
  char *end;
  if (strncmp(path, "/proc/", 6)) return 0;
  if (!strcmp(last, "/mem") || !strcmp(last, "/pagemap")) return 1;
  long process = strtol(path + 6, &end, 10);
  return process > 0 && is_own_process((pid_t)process) && *end && !(end == last && is_public(last + 1));
}

/* Offsets after the names of a path. Returns their number. */
static size_t find_names(const char *path, uint16_t *ends) {
  size_t count = 0;
  for (size_t at = 0; path[at]; at++)
    if (path[at] != '/' && (path[at + 1] == '/' || !path[at + 1])) ends[count++] = (uint16_t)(at + 1);
  return count;
}

/* A path that leads to nothing, as it seems to this process: true if it leads through /proc, where the caller may have what it
 * names, such as its own /proc/self/fd/63. Looks for the longest part of the path that is there, by halves: a path has
 * thousands of names. */
static int leads_to_proc(int base, const char *path) {
  static char part[PATH_BYTES];
  static uint16_t ends[PATH_BYTES];
  struct stat facts;
  size_t there = 0, missing = find_names(path, ends) + 1;
  int is_through = 0;
  while (there + 1 < missing) {
    size_t middle = (there + missing) / 2;
    snprintf(part, sizeof part, "%.*s", (int)ends[middle - 1], path);
    int fd = open_path(base, part, O_NOFOLLOW, RESOLVE_NO_MAGICLINKS);
    if (fd == -ELOOP || fd == -EXDEV) return 1;
    if (fd >= 0) {
      is_through = fstat(fd, &facts) == 0 && (facts.st_dev == proc_device || S_ISLNK(facts.st_mode));
      close(fd);
    }
    if (fd >= 0) there = middle;
    else missing = middle;
  }
  return is_through;
}

static int resolve_below(const struct seccomp_notif *request, int base, const char *path, int follows, uint64_t flags,
                      struct target *target) {
  uint64_t how = flags | (follows ? 0 : O_NOFOLLOW);
  int fd = open_path(base, path, how, RESOLVE_NO_MAGICLINKS);
  int is_slow = fd == -ELOOP || fd == -EXDEV || (fd == -ENOENT && leads_to_proc(base, path));
  if (fd >= 0 && fstat(fd, &target->facts) == 0 && target->facts.st_dev == proc_device) {
    close(fd);
    is_slow = 1;
  }
  if (is_slow) fd = walk_from(request, base, path, follows);
  if (fd < 0) return fd;
  int failed = fstat(fd, &target->facts) ? -EACCES : canonical_path(fd, target->path, sizeof target->path);
  if (!failed && flags & O_DIRECTORY && !S_ISDIR(target->facts.st_mode)) failed = -ENOTDIR;
  if (!failed && is_private_file(target->path)) failed = -EACCES;
  if (failed) close_copy(fd);
  return failed ? failed : fd;
}

int resolve_path(const struct seccomp_notif *request, int folder, const char *path, int follows, struct target *target) {
  target->fd = target->parent = -1;
  if (!*path) return -ENOENT;
  int base = base_of(request, folder, path);
  if (base < 0 && base != AT_FDCWD) return base;
  target->fd = resolve_below(request, base, path, follows, 0, target);
  if (base >= 0) close(base);
  return target->fd < 0 ? target->fd : 0;
}

/* Splits a path into parent folder and last name; ignores trailing slashes. */
static int split(const char *path, char *folder, char *name) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/') end--;
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  if (end - start >= NAME_BYTES) return -ENAMETOOLONG;
  memcpy(name, path + start, end - start);
  name[end - start] = 0;
  memcpy(folder, start ? path : ".", start ? start : 1);
  folder[start ? start : 1] = 0;
  return !*name || *name == '/' || !strcmp(name, ".") || !strcmp(name, "..") ? -EEXIST : 0;
}

static int add_name(struct target *target) {
  size_t have = strlen(target->path);
  if (have == 1) have = 0;
  if (have + strlen(target->name) + 2 > sizeof target->path) {
    close_target(target);
    return -ENAMETOOLONG;
  }
  target->path[have] = '/';
  strcpy(target->path + have + 1, target->name);
  return 0;
}

int resolve_parent(const struct seccomp_notif *request, int folder, const char *path, struct target *target) {
  static char parent[PATH_BYTES];
  target->fd = target->parent = -1;
  if (!*path) return -ENOENT;
  int failed = split(path, parent, target->name);
  if (failed) return failed;
  int base = base_of(request, folder, path);
  if (base < 0 && base != AT_FDCWD) return base;
  target->parent = resolve_below(request, base, parent, 1, O_DIRECTORY, target);
  failed = target->parent < 0 ? target->parent : add_name(target);
  if (!failed && base >= 0 && folder == AT_FDCWD) note_relative(base, target);
  if (base >= 0) close(base);
  return failed;
}

int enter_base(const struct seccomp_notif *request, const char *path, const struct target *target) {
  static char parent[PATH_BYTES], found[PATH_BYTES * 2], judged[PATH_BYTES * 2];
  char name[NAME_BYTES];
  if (split(path, parent, name)) return 0;
  int base = base_of(request, AT_FDCWD, path);
  if (base < 0 && base != AT_FDCWD) return 0;
  int fd = open_path(base, parent, O_DIRECTORY, RESOLVE_NO_MAGICLINKS);
  int is_same = fd >= 0 && !canonical_path(fd, found, sizeof found) &&
                !canonical_path(target->parent, judged, sizeof judged) && !strcmp(found, judged) && !strcmp(name, target->name);
  if (is_same && base != AT_FDCWD) is_same = fchdir(base) == 0;
  if (fd >= 0) close(fd);
  if (base >= 0) close(base);
  return is_same;
}

int resolve_descriptor(const struct seccomp_notif *request, int number, struct target *target) {
  target->parent = -1;
  target->fd = copy_descriptor((pid_t)request->pid, number);
  if (target->fd < 0) return target->fd;
  int failed = fstat(target->fd, &target->facts) ? -EACCES : canonical_path(target->fd, target->path, sizeof target->path);
  if (failed) close_target(target);
  return failed;
}

void close_target(struct target *target) {
  if (target->fd >= 0) close_copy(target->fd);
  if (target->parent >= 0) close(target->parent);
  target->fd = target->parent = -1;
}

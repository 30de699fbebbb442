/*
 * Paths of a caller: resolved here, once, to a descriptor that is judged and used.
 *
 * Problem. Memory of a caller may change after it was read, and a path may lead elsewhere after it was judged. Links of
 * /proc are those of the process that follows them, which is this one.
 *
 * Mechanism. The path is resolved by one openat2(2) without access to the file (O_PATH) from the caller's folder, with
 * magic links refused. Where that meets one, or ends in /proc, it is resolved name by name instead: `self` is the caller,
 * a link to a descriptor is a copy of that descriptor, and nothing of this process's own folder there is opened but what
 * every user may read. What is found is told apart by the kernel's own name of it (/proc/self/fd), and used by its
 * descriptor. Names change in this wall by calls that are made here alone, one after another.
 *
 * Relies on openat2(2), proc(5), pidfd_getfd(2) by the sentinel's caller.c.
 *
 * Not handled: links below /proc/PID/ns and /proc/PID/map_files (EACCES).
 */
#define _GNU_SOURCE
#include "places.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../sentinel/caller.h"
#include "../launcher/steps.h"
#include "opens.h"

enum { LINKS_MAX = 40, STEPS_MAX = 512, PROC_ROOT_INODE = 1 };

static int own_descriptors = -1, proc_root = -1;
static dev_t proc_device, scratch_device;

void open_places(void) {
  struct stat facts;
  own_descriptors = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
  proc_root = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(own_descriptors >= 0 && proc_root >= 0 && fstat(proc_root, &facts) == 0, "/proc");
  proc_device = facts.st_dev;
  must(stat("/dev/shm", &facts) == 0, "/dev/shm");
  scratch_device = facts.st_dev;
}

int is_of_system(const struct stat *facts) {
  return facts->st_dev != proc_device && facts->st_dev != scratch_device;
}

int path_of(int fd, char *to, size_t room) {
  char name[16];
  snprintf(name, sizeof name, "%d", fd);
  ssize_t n = readlinkat(own_descriptors, name, to, room - 1);
  if (n <= 0 || (size_t)n >= room - 1) return -ENAMETOOLONG;
  to[n] = 0;
  return 0;
}

int open_again(int fd, uint64_t flags) {
  char name[16];
  snprintf(name, sizeof name, "%d", fd);
  int again = openat(own_descriptors, name, (int)flags);
  return again < 0 ? -errno : again;
}

void name_of_descriptor(int fd, char *to, size_t room) {
  snprintf(to, room, "/proc/self/fd/%d", fd);
}

static int open_path(int folder, const char *path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {.flags = flags | O_PATH | O_CLOEXEC, .resolve = resolve};
  int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
  return fd < 0 ? -errno : fd;
}

/* Folder from which a caller's path starts; AT_FDCWD where the path is absolute. */
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
  close(fd);
  return -ENOTDIR;
}

/* ---- name by name ---- */

struct walk {
  const struct seccomp_notif *request;
  char rest[PATH_BYTES * 2];
  int at, links, steps;
};

/* Number of the process in whose folder of /proc a descriptor lies; 0 outside of those. */
static long process_of(int fd) {
  static char path[PATH_BYTES];
  if (path_of(fd, path, sizeof path) || strncmp(path, "/proc/", 6)) return 0;
  return strtol(path + 6, NULL, 10);
}

/* Files of this process that every process may read. */
static int is_public(const char *name) {
  static const char *const names[] = {"stat", "statm", "status", "cmdline", "comm", "limits", "cgroup"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(name, names[i])) return 1;
  return 0;
}

/* Opens one name of /proc as the caller would see it. */
static int open_in_proc(struct walk *walk, int folder, const char *name, const struct stat *where) {
  char own[64];
  pid_t tid = (pid_t)walk->request->pid;
  if (where->st_ino == PROC_ROOT_INODE && (!strcmp(name, "self") || !strcmp(name, "thread-self"))) {
    long group = status_of(tid, "\nTgid:", 10, 0);
    if (*name == 's') snprintf(own, sizeof own, "%ld", group);
    else snprintf(own, sizeof own, "%ld/task/%d", group, tid);
    return open_path(proc_root, own, O_DIRECTORY, 0);
  }
  long process = process_of(folder);
  if (process > 0 && is_own_process((pid_t)process) && !is_public(name)) return -EACCES;
  return open_path(folder, name, O_NOFOLLOW, 0);
}

/* Opens the target of a magic link: a copy of the caller's own or of another process's descriptor, a folder, a program. */
static int follow_magic(int folder, int link, const char *name) {
  static char path[PATH_BYTES];
  long process = process_of(folder);
  if (process <= 0 || is_own_process((pid_t)process) || path_of(link, path, sizeof path)) return -EACCES;
  if (strstr(path, "/fd/")) return copy_descriptor((pid_t)process, atoi(name));
  if (strstr(path, "/ns/") || strstr(path, "/map_files/")) return -EACCES;
  return open_path(folder, name, 0, 0);
}

/* Puts the text of a link before the rest; returns the folder from which to go on. */
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

/* Goes one name on from `folder`, which it closes. */
static int step_on(struct walk *walk, int folder, const char *name, int follows) {
  struct stat where, facts;
  int is_proc = fstat(folder, &where) == 0 && where.st_dev == proc_device;
  int next = is_proc ? open_in_proc(walk, folder, name, &where) : open_path(folder, name, O_NOFOLLOW, 0);
  if (next < 0 || fstat(next, &facts)) {
    close(folder);
    return next < 0 ? next : -EACCES;
  }
  if (!S_ISLNK(facts.st_mode) || !follows) {
    close(folder);
    return next;
  }
  /* Links in the folder of a process are magic, those above are text. */
  int is_magic = is_proc && process_of(folder) > 0;
  int found = is_magic ? follow_magic(folder, next, name) : splice_link(walk, folder, next);
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
      close(at);
      return -ENAMETOOLONG;
    }
    memcpy(name, walk.rest + walk.at, length);
    name[length] = 0;
    walk.at += (int)length;
    /* A slash behind the last name has it followed. */
    at = step_on(&walk, at, name, follows || walk.rest[walk.at] != 0);
  }
  return at;
}

/* Files of a process that only itself may open, and no caller by this process's rights. */
static int is_memory(const char *path) {
  const char *last = strrchr(path, '/');
  return !strncmp(path, "/proc/", 6) && last && (!strcmp(last, "/mem") || !strcmp(last, "/pagemap"));
}

static int find_below(const struct seccomp_notif *request, int base, const char *path, int follows, uint64_t flags,
                      struct place *place) {
  uint64_t how = flags | (follows ? 0 : O_NOFOLLOW);
  int fd = open_path(base, path, how, RESOLVE_NO_MAGICLINKS);
  int is_slow = fd == -ELOOP || fd == -EXDEV;
  if (fd >= 0 && fstat(fd, &place->facts) == 0 && place->facts.st_dev == proc_device) {
    close(fd);
    is_slow = 1;
  }
  if (is_slow) fd = walk_from(request, base, path, follows);
  if (fd < 0) return fd;
  int failed = fstat(fd, &place->facts) ? -EACCES : path_of(fd, place->path, sizeof place->path);
  if (!failed && flags & O_DIRECTORY && !S_ISDIR(place->facts.st_mode)) failed = -ENOTDIR;
  if (!failed && is_memory(place->path)) failed = -EACCES;
  if (failed) close(fd);
  return failed ? failed : fd;
}

int find_place(const struct seccomp_notif *request, int folder, const char *path, int follows, struct place *place) {
  place->fd = place->parent = -1;
  if (!*path) return -ENOENT;
  int base = base_of(request, folder, path);
  if (base < 0 && base != AT_FDCWD) return base;
  place->fd = find_below(request, base, path, follows, 0, place);
  if (base >= 0) close(base);
  return place->fd < 0 ? place->fd : 0;
}

/* Splits off the last name; slashes behind it are left to the call. */
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

int find_name(const struct seccomp_notif *request, int folder, const char *path, struct place *place) {
  static char above[PATH_BYTES];
  place->fd = place->parent = -1;
  if (!*path) return -ENOENT;
  int failed = split(path, above, place->name);
  if (failed) return failed;
  int base = base_of(request, folder, path);
  if (base < 0 && base != AT_FDCWD) return base;
  place->parent = find_below(request, base, above, 1, O_DIRECTORY, place);
  if (base >= 0) close(base);
  if (place->parent < 0) return place->parent;
  size_t have = strlen(place->path);
  if (have == 1) have = 0;
  if (have + strlen(place->name) + 2 > sizeof place->path) {
    close_place(place);
    return -ENAMETOOLONG;
  }
  place->path[have] = '/';
  strcpy(place->path + have + 1, place->name);
  return 0;
}

int find_descriptor(const struct seccomp_notif *request, int number, struct place *place) {
  place->parent = -1;
  place->fd = copy_descriptor((pid_t)request->pid, number);
  if (place->fd < 0) return place->fd;
  int failed = fstat(place->fd, &place->facts) ? -EACCES : path_of(place->fd, place->path, sizeof place->path);
  if (failed) close_place(place);
  return failed;
}

void close_place(struct place *place) {
  if (place->fd >= 0) close(place->fd);
  if (place->parent >= 0) close(place->parent);
  place->fd = place->parent = -1;
}

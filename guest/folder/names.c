/*
 * Calls that make, move and remove names, and those that change a file by its path, made for the caller.
 *
 * Problem. Each of them may give a protected name to a file, or an unprotected one to a file that is protected.
 *
 * Mechanism. The folder of a name is resolved and judged with it; the call is made on that folder's descriptor, never
 * following the last name. All names of the wall change here, one call after another, so that nothing of the wall moves
 * between a judgement and its call. What is changed by its path is found, judged, and changed by its descriptor.
 *
 * Relies on places.c and judge.c.
 *
 * Not handled: extended attributes, which the fixed filter refuses.
 */
#define _GNU_SOURCE
#include "names.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>
#include "../sentinel/caller.h"
#include "judge.h"
#include "opens.h"
#include "places.h"
#include "reports.h"
#include "requests.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* How a call names its file: by folder and path, or by a descriptor alone. */
struct named {
  int folder;
  uint64_t path_at;
  char path[PATH_BYTES];
};

static int read_path(const struct seccomp_notif *request, int folder, uint64_t at, struct named *named) {
  named->folder = folder;
  int failed = read_text((pid_t)request->pid, at, named->path, sizeof named->path);
  return failed || still_asks(request->id) ? failed : -ENOENT;
}

/* Judges a place for a call; tells of a refusal. */
static int may(const struct seccomp_notif *request, const struct place *place, int rights) {
  struct refusal why = {0};
  int failed = judge(place->path, rights, &why);
  if (!failed && place->fd >= 0 && place->facts.st_nlink > 1 && S_ISREG(place->facts.st_mode) &&
      rights & other_name_lacks(&place->facts, &why))
    failed = EACCES;
  if (failed) refused_at(request, place->path, rights, &why);
  return -failed;
}

static int is_there(const struct place *place) {
  struct stat facts;
  return fstatat(place->parent, place->name, &facts, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- making ---- */

enum making { FOLDER, NODE, LINK };

static int make_one(const struct seccomp_notif *request, const struct place *place, enum making what, uint64_t mode,
                    const char *text) {
  if (what == LINK) {
    struct refusal why = {0};
    int failed = judge_link(place->path, text, &why);
    if (failed) refused_at(request, place->path, NAMING, &why);
    return failed ? -failed : symlinkat(text, place->parent, place->name) ? -errno : 0;
  }
  umask(mask_of(request));
  if (what == FOLDER) return mkdirat(place->parent, place->name, (mode_t)mode & 07777) ? -errno : 0;
  return mknodat(place->parent, place->name, (mode_t)mode, 0) ? -errno : 0;
}

/* Undoes what made a folder a repository to git. */
static int undone(const struct seccomp_notif *request, const struct place *place, int flags) {
  static const struct refusal why = {"protected", "a new repository", NULL};
  unlinkat(place->parent, place->name, flags);
  refused_at(request, place->path, NAMING, &why);
  return -EACCES;
}

static int make(const struct seccomp_notif *request, int folder, uint64_t path_at, enum making what, uint64_t mode,
                uint64_t text_at) {
  static struct named named, text;
  static struct place place;
  int failed = what == LINK ? read_path(request, 0, text_at, &text) : 0;
  if (!failed) failed = read_path(request, folder, path_at, &named);
  if (!failed) failed = find_name(request, folder, named.path, &place);
  if (failed) return failed;
  /* Before it is judged: a program that makes what is there goes on. */
  if (is_there(&place)) failed = -EEXIST;
  else if (what != FOLDER && named.path[strlen(named.path) - 1] == '/') failed = -ENOENT;
  else failed = may(request, &place, WRITING | NAMING);
  int was = lies_in_repository(place.path);
  if (!failed) failed = make_one(request, &place, what, mode, text.path);
  if (!failed && !was && lies_in_repository(place.path))
    failed = undone(request, &place, what == FOLDER ? AT_REMOVEDIR : 0);
  close_place(&place);
  return failed;
}

/* ---- moving, removing ---- */

static int is_folder_or_link(const struct place *place) {
  struct stat facts;
  return fstatat(place->parent, place->name, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
         (S_ISDIR(facts.st_mode) || S_ISLNK(facts.st_mode));
}

static int renamed(const struct place *from, const struct place *to, unsigned int flags) {
  return (int)syscall(SYS_renameat2, from->parent, from->name, to->parent, to->name, flags) ? -errno : 0;
}

static int may_move(const struct seccomp_notif *request, const struct place *from, const struct place *to,
                    unsigned int flags) {
  struct refusal why = {0};
  int failed = judge_move(from->path, to->path, !is_folder_or_link(from), &why);
  if (!failed && flags & RENAME_EXCHANGE) failed = judge_move(to->path, from->path, !is_folder_or_link(to), &why);
  if (failed) refused_at(request, why.path ? why.path : from->path, NAMING, &why);
  return -failed;
}

static int move_places(const struct seccomp_notif *request, const struct place *from, const struct place *to,
                       unsigned int flags) {
  int failed = flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE) ? -EINVAL : 0;
  if (!failed && !is_there(from)) failed = -ENOENT;
  if (!failed) failed = may_move(request, from, to, flags);
  if (failed) return failed;
  int was = lies_in_repository(to->path);
  failed = renamed(from, to, flags);
  if (failed || was || !lies_in_repository(to->path)) return failed;
  static const struct refusal why = {"protected", "a new repository", NULL};
  renamed(to, from, flags);
  refused_at(request, to->path, NAMING, &why);
  return -EACCES;
}

static int move(const struct seccomp_notif *request, int from_folder, uint64_t from_at, int to_folder, uint64_t to_at,
                unsigned int flags) {
  static struct named named;
  static struct place from, to;
  int failed = read_path(request, from_folder, from_at, &named);
  if (!failed) failed = find_name(request, from_folder, named.path, &from);
  if (failed) return failed == -EEXIST ? -EBUSY : failed;
  failed = read_path(request, to_folder, to_at, &named);
  if (!failed) failed = find_name(request, to_folder, named.path, &to);
  else to.fd = to.parent = -1;
  if (failed == -EEXIST) failed = -EBUSY;
  if (!failed) failed = move_places(request, &from, &to, flags);
  close_place(&to);
  close_place(&from);
  return failed;
}

static int remove_name(const struct seccomp_notif *request, int folder, uint64_t path_at, int flags) {
  static struct named named;
  static struct place place;
  int failed = flags & ~AT_REMOVEDIR ? -EINVAL : read_path(request, folder, path_at, &named);
  if (!failed) failed = find_name(request, folder, named.path, &place);
  if (failed) return failed == -EEXIST ? (flags ? -EINVAL : -EISDIR) : failed;
  if (!is_there(&place)) failed = -ENOENT;
  else failed = may(request, &place, WRITING | NAMING);
  if (!failed && unlinkat(place.parent, place.name, flags)) failed = -errno;
  close_place(&place);
  return failed;
}

/* A file that is linked by a descriptor of its own was made without a name, or is judged by the one that it has. */
static int find_source(const struct seccomp_notif *request, int folder, uint64_t path_at, int flags,
                       struct place *from) {
  static struct named named;
  int failed = read_path(request, folder, path_at, &named);
  if (failed) return failed;
  if (!named.path[0] && flags & AT_EMPTY_PATH) return find_descriptor(request, folder, from);
  return find_place(request, folder, named.path, (flags & AT_SYMLINK_FOLLOW) != 0, from);
}

static int link_places(const struct seccomp_notif *request, const struct place *from, const struct place *to) {
  int failed = is_there(to) ? -EEXIST : may(request, from, READING | WRITING | NAMING);
  if (!failed) failed = may(request, to, READING | WRITING | NAMING);
  if (failed) return failed;
  char name[64];
  name_of_descriptor(from->fd, name, sizeof name);
  int was = lies_in_repository(to->path);
  if (linkat(AT_FDCWD, name, to->parent, to->name, AT_SYMLINK_FOLLOW)) return -errno;
  return was || !lies_in_repository(to->path) ? 0 : undone(request, to, 0);
}

static int link_names(const struct seccomp_notif *request, int from_folder, uint64_t from_at, int to_folder,
                      uint64_t to_at, int flags) {
  static struct named named;
  static struct place from, to;
  int failed = flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) ? -EINVAL : 0;
  if (!failed) failed = find_source(request, from_folder, from_at, flags, &from);
  if (failed) return failed;
  failed = read_path(request, to_folder, to_at, &named);
  if (!failed) failed = find_name(request, to_folder, named.path, &to);
  else to.fd = to.parent = -1;
  if (!failed) failed = S_ISDIR(from.facts.st_mode) ? -EPERM : link_places(request, &from, &to);
  close_place(&to);
  close_place(&from);
  return failed;
}

/* ---- changes by path ---- */

/* Change of a file by a call: of its size, mode, owner or times. */
struct change {
  enum { SIZE, MODE, OWNER, TIMES } what;
  int64_t size;
  mode_t mode;
  uid_t uid;
  gid_t gid;
  const struct timespec *times;
};

static int apply(const struct place *place, const struct change *change) {
  char name[64];
  name_of_descriptor(place->fd, name, sizeof name);
  /* Links have times and an owner of their own alone; the name of a link's descriptor would be followed. */
  int is_link = S_ISLNK(place->facts.st_mode);
  switch (change->what) {
    case SIZE: return truncate(name, change->size) ? -errno : 0;
    case MODE: return is_link ? -EOPNOTSUPP : chmod(name, change->mode & 07777) ? -errno : 0;
    case OWNER: return fchownat(place->fd, "", change->uid, change->gid, AT_EMPTY_PATH) ? -errno : 0;
    default:
      if (is_link) return syscall(SYS_utimensat, place->fd, "", change->times, AT_EMPTY_PATH) ? -errno : 0;
      return utimensat(AT_FDCWD, name, change->times, 0) ? -errno : 0;
  }
}

static int change_place(const struct seccomp_notif *request, struct place *place, const struct change *change) {
  int failed = may(request, place, WRITING);
  if (!failed && change->what == SIZE && S_ISFIFO(place->facts.st_mode)) failed = -EINVAL;
  if (!failed) failed = apply(place, change);
  close_place(place);
  return failed;
}

static int change_path(const struct seccomp_notif *request, int folder, uint64_t path_at, int flags,
                       const struct change *change) {
  static struct named named;
  static struct place place;
  int failed = flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) ? -EINVAL : read_path(request, folder, path_at, &named);
  if (failed) return failed;
  int is_own = !named.path[0] && flags & AT_EMPTY_PATH;
  failed = is_own ? find_descriptor(request, folder, &place)
                  : find_place(request, folder, named.path, !(flags & AT_SYMLINK_NOFOLLOW), &place);
  return failed ? failed : change_place(request, &place, change);
}

static int change_descriptor(const struct seccomp_notif *request, int number, const struct change *change) {
  static struct place place;
  int failed = find_descriptor(request, number, &place);
  if (failed || still_asks(request->id)) return failed ? failed : change_place(request, &place, change);
  close_place(&place);
  return -ENOENT;
}

static int change_mode(const struct seccomp_notif *request, int folder, uint64_t path_at, uint64_t mode, int flags) {
  struct change change = {.what = MODE, .mode = (mode_t)mode};
  return change_path(request, folder, path_at, flags, &change);
}

static int change_owner(const struct seccomp_notif *request, int folder, uint64_t path_at, uint64_t uid, uint64_t gid,
                        int flags) {
  struct change change = {.what = OWNER, .uid = (uid_t)uid, .gid = (gid_t)gid};
  return change_path(request, folder, path_at, flags, &change);
}

/* Times in nanoseconds, from the form of the call: a pair of timespec, of timeval, or of seconds. */
static int read_times(const struct seccomp_notif *request, uint64_t at, int form, struct timespec times[2]) {
  struct timeval small[2];
  int64_t whole[2];
  pid_t pid = (pid_t)request->pid;
  if (form == 0) return read_bytes(pid, at, times, 2 * sizeof *times);
  int failed = form == 1 ? read_bytes(pid, at, small, sizeof small) : read_bytes(pid, at, whole, sizeof whole);
  for (int i = 0; i < 2 && !failed; i++) {
    times[i].tv_sec = form == 1 ? small[i].tv_sec : whole[i];
    times[i].tv_nsec = form == 1 ? small[i].tv_usec * 1000 : 0;
  }
  return failed;
}

static int change_times(const struct seccomp_notif *request, int folder, uint64_t path_at, uint64_t times_at, int form,
                        int flags) {
  struct timespec times[2];
  int failed = times_at ? read_times(request, times_at, form, times) : 0;
  if (failed) return failed;
  struct change change = {.what = TIMES, .times = times_at ? times : NULL};
  return path_at ? change_path(request, folder, path_at, flags, &change) : change_descriptor(request, folder, &change);
}

/* ---- calls ---- */

static int is_newer(const struct seccomp_notif *request, int64_t *value) {
  const __u64 *a = request->data.args;
  struct change mode = {.what = MODE, .mode = (mode_t)a[1]};
  struct change owner = {.what = OWNER, .uid = (uid_t)a[1], .gid = (gid_t)a[2]};
  struct change size = {.what = SIZE, .size = (int64_t)a[1]};
  switch (request->data.nr) {
    case SYS_mkdirat: *value = make(request, (int)a[0], a[1], FOLDER, a[2], 0); break;
    case SYS_mknodat: *value = make(request, (int)a[0], a[1], NODE, a[2], 0); break;
    case SYS_symlinkat: *value = make(request, (int)a[1], a[2], LINK, 0, a[0]); break;
    case SYS_renameat2: *value = move(request, (int)a[0], a[1], (int)a[2], a[3], (unsigned int)a[4]); break;
#ifdef SYS_renameat
    case SYS_renameat: *value = move(request, (int)a[0], a[1], (int)a[2], a[3], 0); break;
#endif
    case SYS_linkat: *value = link_names(request, (int)a[0], a[1], (int)a[2], a[3], (int)a[4]); break;
    case SYS_unlinkat: *value = remove_name(request, (int)a[0], a[1], (int)a[2]); break;
    case SYS_truncate: *value = change_path(request, AT_FDCWD, a[0], 0, &size); break;
    case SYS_fchmod: *value = change_descriptor(request, (int)a[0], &mode); break;
    case SYS_fchown: *value = change_descriptor(request, (int)a[0], &owner); break;
    case SYS_fchmodat: *value = change_mode(request, (int)a[0], a[1], a[2], 0); break;
    case SYS_fchmodat2: *value = change_mode(request, (int)a[0], a[1], a[2], (int)a[3]); break;
    case SYS_fchownat: *value = change_owner(request, (int)a[0], a[1], a[2], a[3], (int)a[4]); break;
    case SYS_utimensat: *value = change_times(request, (int)a[0], a[1], a[2], 0, (int)a[3]); break;
    default: return 0;
  }
  return 1;
}

/* Calls that only older architectures have. */
static int is_older(const struct seccomp_notif *request, int64_t *value) {
  const __u64 *a = request->data.args;
  switch (request->data.nr) {
#ifdef SYS_mkdir
    case SYS_mkdir: *value = make(request, AT_FDCWD, a[0], FOLDER, a[1], 0); break;
    case SYS_mknod: *value = make(request, AT_FDCWD, a[0], NODE, a[1], 0); break;
    case SYS_symlink: *value = make(request, AT_FDCWD, a[1], LINK, 0, a[0]); break;
    case SYS_rename: *value = move(request, AT_FDCWD, a[0], AT_FDCWD, a[1], 0); break;
    case SYS_link: *value = link_names(request, AT_FDCWD, a[0], AT_FDCWD, a[1], 0); break;
    case SYS_unlink: *value = remove_name(request, AT_FDCWD, a[0], 0); break;
    case SYS_rmdir: *value = remove_name(request, AT_FDCWD, a[0], AT_REMOVEDIR); break;
    case SYS_chmod: *value = change_mode(request, AT_FDCWD, a[0], a[1], 0); break;
    case SYS_chown: *value = change_owner(request, AT_FDCWD, a[0], a[1], a[2], 0); break;
    case SYS_lchown: *value = change_owner(request, AT_FDCWD, a[0], a[1], a[2], AT_SYMLINK_NOFOLLOW); break;
    case SYS_utime: *value = change_times(request, AT_FDCWD, a[0], a[1], 2, 0); break;
    case SYS_utimes: *value = change_times(request, AT_FDCWD, a[0], a[1], 1, 0); break;
    case SYS_futimesat: *value = change_times(request, (int)a[0], a[1], a[2], 1, 0); break;
#endif
    default: return 0;
  }
  return 1;
}

int answer_name(const struct seccomp_notif *request) {
  int64_t value = 0;
  if (!is_newer(request, &value) && !is_older(request, &value)) return 0;
  send_answer(request->id, value < 0 ? 0 : value, value < 0 ? (int)value : 0);
  return 1;
}

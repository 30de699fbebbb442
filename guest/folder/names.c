/*
 * Calls that create, rename or remove names, and calls that change metadata, performed on behalf of the caller.
 *
 * Problem. Each of them may give a protected name to a file, or an unprotected name to a protected file. A check followed by
 * the call on the same path would be a race (TOCTOU).
 *
 * Mechanism. The parent folder is resolved to a descriptor, its canonical path plus the last name is judged, and the *at call
 * is made on that descriptor, never following the last name. This process makes all changes of names in the wall, one after
 * another, so no process of the wall can rename anything between check and call. Metadata is changed through the descriptor
 * that was judged.
 *
 * Relies on resolve.c and judge.c.
 *
 * Not handled: extended attributes, which the fixed filter refuses.
 */
#define _GNU_SOURCE
#include "names.h"
#include <dirent.h>
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
#include "resolve.h"
#include "reports.h"
#include "requests.h"
#include "turn.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* Path argument of a call, copied from the caller: a base folder and a path; an empty path means the descriptor itself. */
struct caller_path {
  int folder;
  uint64_t path_at;
  char path[PATH_BYTES];
};

static int read_path(const struct seccomp_notif *request, int folder, uint64_t at, struct caller_path *caller_path) {
  caller_path->folder = folder;
  int failed = read_text((pid_t)request->pid, at, caller_path->path, sizeof caller_path->path);
  return failed || is_request_valid(request->id) ? failed : -ENOENT;
}

static int find(const struct target *target, struct stat *facts) {
  if (target->fd < 0) return fstatat(target->parent, target->name, facts, AT_SYMLINK_NOFOLLOW) == 0;
  *facts = target->facts;
  return 1;
}

/* An inode that is freed may become that of a lock outside. */
static void drop_lock(const struct target *target) {
  struct stat facts;
  if (find(target, &facts)) drop_own_lock(&facts);
}

/* Judges the path and the inode of a target; reports a refusal. Returns 0 or a negative errno. */
static int check_access(const struct seccomp_notif *request, const struct target *target, int rights) {
  struct refusal why = {0};
  struct stat facts;
  if (rights & (WRITING | NAMING) && lacks_turn(target->path)) return NEEDS_TURN;
  int failed = judge(target->path, rights, &why);
  if (!failed && target->fd >= 0 && target->facts.st_nlink > 1 && S_ISREG(target->facts.st_mode) &&
      rights & rights_denied_to_hard_link(&target->facts, &why))
    failed = EACCES;
  if (!failed && rights & (WRITING | NAMING) && find(target, &facts)) failed = judge_lock(target->path, &facts, &why);
  if (failed) report_refusal(request, target->path, rights, &why);
  return -failed;
}

static int exists(const struct target *target) {
  struct stat facts;
  return fstatat(target->parent, target->name, &facts, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- creation ---- */

enum entry_kind { FOLDER, NODE, LINK };

static int create_one(const struct seccomp_notif *request, const struct target *target, enum entry_kind what, uint64_t mode,
                    const char *text) {
  if (what == LINK) {
    struct refusal why = {0};
    int failed = judge_link(target->path, text, &why);
    if (failed) report_refusal(request, target->path, NAMING, &why);
    return failed ? -failed : symlinkat(text, target->parent, target->name) ? -errno : 0;
  }
  umask(umask_of(request));
  if (what == FOLDER) return mkdirat(target->parent, target->name, (mode_t)mode & 07777) ? -errno : 0;
  return mknodat(target->parent, target->name, mode_without_ids(target->path, (mode_t)mode), 0) ? -errno : 0;
}

/* Refuses a new entry that would make a git repository of its folder. */
static int check_creation(const struct seccomp_notif *request, const struct target *target) {
  struct refusal why = {0};
  int failed = judge_creation(target->path, &why);
  if (failed) report_refusal(request, target->path, NAMING, &why);
  return -failed;
}

/* Removes an entry whose creation turned its folder into a git repository, by a name that the file system took for another. */
static int undo_creation(const struct seccomp_notif *request, const struct target *target, int flags) {
  static const struct refusal why = {"protected", "creation of a git repository", NULL};
  unlinkat(target->parent, target->name, flags);
  report_refusal(request, target->path, NAMING, &why);
  return -EACCES;
}

static int create_name(const struct seccomp_notif *request, int folder, uint64_t path_at, enum entry_kind what, uint64_t mode,
                uint64_t text_at) {
  static struct caller_path caller_path, text;
  static struct target target;
  /* A rename judges its source by the type, which must not change meanwhile. */
  if (what != NODE && !has_turn()) return NEEDS_TURN;
  int failed = what == LINK ? read_path(request, 0, text_at, &text) : 0;
  if (!failed) failed = read_path(request, folder, path_at, &caller_path);
  if (!failed) failed = resolve_parent(request, folder, caller_path.path, &target);
  if (failed) return failed;
  /* EEXIST takes precedence over a refusal: mkdir -p and similar programs continue after it. */
  if (exists(&target)) failed = -EEXIST;
  else if (what != FOLDER && caller_path.path[strlen(caller_path.path) - 1] == '/') failed = -ENOENT;
  else failed = check_access(request, &target, WRITING | NAMING);
  int was_repository = is_repository_entry(target.path);
  if (!failed) failed = check_creation(request, &target);
  if (!failed) failed = create_one(request, &target, what, mode, text.path);
  if (!failed && !was_repository && is_repository_entry(target.path))
    failed = undo_creation(request, &target, what == FOLDER ? AT_REMOVEDIR : 0);
  close_target(&target);
  return failed;
}

/* ---- rename, unlink, link ---- */

static mode_t type_of(const struct target *target) {
  struct stat facts;
  return fstatat(target->parent, target->name, &facts, AT_SYMLINK_NOFOLLOW) == 0 ? facts.st_mode : 0;
}

static int rename_entry(const struct target *from, const struct target *to, unsigned int flags) {
  drop_lock(from);
  drop_lock(to);
  return (int)syscall(SYS_renameat2, from->parent, from->name, to->parent, to->name, flags) ? -errno : 0;
}

static int unlink_entry(const struct target *target, int flags) {
  drop_lock(target);
  return unlinkat(target->parent, target->name, flags) ? -errno : 0;
}

static int check_move(const struct seccomp_notif *request, const struct target *from, const struct target *to,
                    unsigned int flags) {
  struct refusal why = {0};
  struct stat facts;
  int failed = judge_move(from->path, to->path, type_of(from), &why);
  /* No file takes the name of a lock: one of a program outside could stand there by now. */
  if (!failed && is_lock(to->path)) why.rule = "protected", why.name = "a lock of a program outside", failed = EACCES;
  if (!failed && find(from, &facts) && (failed = judge_lock(from->path, &facts, &why))) why.path = from->path;
  if (!failed && flags & RENAME_EXCHANGE) failed = judge_move(to->path, from->path, type_of(to), &why);
  if (failed) report_refusal(request, why.path ? why.path : from->path, NAMING, &why);
  return -failed;
}

/* Largest protected file that a move may write again as it is, such as .git/config. */
enum { SAME_BYTES_MAX = 1 << 20 };

/* Opens a small regular file without hard links for a comparison; -1 if it is none. */
static int open_to_compare(const struct target *target, struct stat *facts) {
  if (!S_ISREG(type_of(target))) return -1;
  int fd = openat(target->parent, target->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0 && (fstat(fd, facts) || !S_ISREG(facts->st_mode) || facts->st_nlink != 1 || facts->st_size > SAME_BYTES_MAX))
    close(fd), fd = -1;
  return fd;
}

static int is_same_file(const struct target *from, const struct target *to) {
  static char left[SAME_BYTES_MAX + 1], right[SAME_BYTES_MAX + 1];
  struct stat one, other;
  int a = open_to_compare(from, &one), b = open_to_compare(to, &other), is_same = 0;
  if (a >= 0 && b >= 0 && one.st_mode == other.st_mode && one.st_size == other.st_size) {
    ssize_t n = pread(a, left, sizeof left, 0);
    is_same = n == one.st_size && pread(b, right, sizeof right, 0) == n && !memcmp(left, right, (size_t)n);
  }
  if (a >= 0) close(a);
  if (b >= 0) close(b);
  return is_same;
}

/*
 * A move that is refused for its destination alone, and would leave that file as it is: git writes its configuration again with
 * each rename of a branch, after the branch was renamed. Not of unreadable files, whose content could be guessed so.
 */
static int changes_nothing(const struct target *from, const struct target *to, unsigned int flags) {
  struct refusal why = {0};
  struct stat facts;
  return !flags && judge_move(from->path, to->path, type_of(from), &why) && why.path == to->path && find(from, &facts) &&
         !judge_lock(from->path, &facts, &why) && !judge(to->path, READING, &why) && is_same_file(from, to);
}

static int move_targets(const struct seccomp_notif *request, const struct target *from, const struct target *to,
                       unsigned int flags) {
  int failed = flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE) ? -EINVAL : 0;
  if (!failed && !exists(from)) failed = -ENOENT;
  if (!failed && changes_nothing(from, to, flags)) return unlink_entry(from, 0);
  if (!failed) failed = check_move(request, from, to, flags);
  if (!failed) failed = check_creation(request, to);
  if (failed) return failed;
  int was_repository = is_repository_entry(to->path);
  failed = rename_entry(from, to, flags);
  if (failed || was_repository || !is_repository_entry(to->path)) return failed;
  static const struct refusal why = {"protected", "creation of a git repository", NULL};
  rename_entry(to, from, flags);
  report_refusal(request, to->path, NAMING, &why);
  return -EACCES;
}

static int move(const struct seccomp_notif *request, int from_folder, uint64_t from_at, int to_folder, uint64_t to_at,
                unsigned int flags) {
  static struct caller_path caller_path;
  static struct target from, to;
  if (!has_turn()) return NEEDS_TURN;
  int failed = read_path(request, from_folder, from_at, &caller_path);
  if (!failed) failed = resolve_parent(request, from_folder, caller_path.path, &from);
  if (failed) return failed == -EEXIST ? -EBUSY : failed;
  failed = read_path(request, to_folder, to_at, &caller_path);
  if (!failed) failed = resolve_parent(request, to_folder, caller_path.path, &to);
  else to.fd = to.parent = -1;
  if (failed == -EEXIST) failed = -EBUSY;
  if (!failed) failed = move_targets(request, &from, &to, flags);
  close_target(&to);
  close_target(&from);
  return failed;
}

/*
 * A folder whose removal is refused, and fails anyway since it is not empty. ENOTEMPTY takes precedence, as EEXIST does: git removes
 * the folders above a file of its own until one is not empty.
 */
static int is_filled_folder(const struct target *target) {
  struct refusal why = {0};
  if (!judge(target->path, WRITING | NAMING, &why) || judge(target->path, READING, &why)) return 0;
  int fd = openat(target->parent, target->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), entries = 0;
  DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
  while (folder && entries < 3 && readdir(folder)) entries++;
  if (folder) closedir(folder);
  else if (fd >= 0) close(fd);
  return entries == 3;
}

static int remove_name(const struct seccomp_notif *request, int folder, uint64_t path_at, int flags) {
  static struct caller_path caller_path;
  static struct target target;
  int failed = flags & ~AT_REMOVEDIR ? -EINVAL : read_path(request, folder, path_at, &caller_path);
  if (!failed) failed = resolve_parent(request, folder, caller_path.path, &target);
  if (failed) return failed == -EEXIST ? (flags ? -EINVAL : -EISDIR) : failed;
  if (!exists(&target)) failed = -ENOENT;
  else if (flags && is_filled_folder(&target)) failed = -ENOTEMPTY;
  else failed = check_access(request, &target, WRITING | NAMING);
  if (!failed) failed = unlink_entry(&target, flags);
  close_target(&target);
  return failed;
}

/* With AT_EMPTY_PATH the source is a descriptor: a file of O_TMPFILE, or a named file, which is judged by that name. */
static int resolve_link_source(const struct seccomp_notif *request, int folder, uint64_t path_at, int flags,
                       struct target *from) {
  static struct caller_path caller_path;
  int failed = read_path(request, folder, path_at, &caller_path);
  if (failed) return failed;
  if (!caller_path.path[0] && flags & AT_EMPTY_PATH) return resolve_descriptor(request, folder, from);
  return resolve_path(request, folder, caller_path.path, (flags & AT_SYMLINK_FOLLOW) != 0, from);
}

/* A hard link of a symbolic link is a new one, of the same text. */
static int check_linked_link(const struct seccomp_notif *request, const struct target *from, const struct target *to) {
  static char text[PATH_BYTES];
  struct refusal why = {0};
  if (!S_ISLNK(from->facts.st_mode)) return 0;
  ssize_t n = readlinkat(from->fd, "", text, sizeof text - 1);
  if (n <= 0) return -EACCES;
  text[n] = 0;
  int failed = judge_link(to->path, text, &why);
  if (failed) report_refusal(request, to->path, NAMING, &why);
  return -failed;
}

static int link_target(const struct seccomp_notif *request, const struct target *from, const struct target *to) {
  int failed = exists(to) ? -EEXIST : check_access(request, from, READING | WRITING | NAMING);
  if (!failed) failed = check_access(request, to, READING | WRITING | NAMING);
  if (!failed) failed = check_linked_link(request, from, to);
  if (!failed) failed = check_creation(request, to);
  if (failed) return failed;
  char name[64];
  fd_path(from->fd, name, sizeof name);
  int was_repository = is_repository_entry(to->path);
  if (linkat(AT_FDCWD, name, to->parent, to->name, AT_SYMLINK_FOLLOW)) return -errno;
  return was_repository || !is_repository_entry(to->path) ? 0 : undo_creation(request, to, 0);
}

static int link_names(const struct seccomp_notif *request, int from_folder, uint64_t from_at, int to_folder,
                      uint64_t to_at, int flags) {
  static struct caller_path caller_path;
  static struct target from, to;
  int failed = flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) ? -EINVAL : 0;
  if (!failed) failed = resolve_link_source(request, from_folder, from_at, flags, &from);
  if (failed) return failed;
  failed = read_path(request, to_folder, to_at, &caller_path);
  if (!failed) failed = resolve_parent(request, to_folder, caller_path.path, &to);
  else to.fd = to.parent = -1;
  if (!failed) failed = S_ISDIR(from.facts.st_mode) ? -EPERM : link_target(request, &from, &to);
  close_target(&to);
  close_target(&from);
  return failed;
}

/* ---- metadata ---- */

/* A change of size, mode, owner or times. */
struct change {
  enum { SIZE, MODE, OWNER, TIMES } what;
  int64_t size;
  mode_t mode;
  uid_t uid;
  gid_t gid;
  const struct timespec *times;
};

static int apply(const struct target *target, const struct change *change) {
  char name[64];
  fd_path(target->fd, name, sizeof name);
  /* A symbolic link has only an owner and times of its own. A call by /proc/self/fd would follow it to its target. */
  int is_link = S_ISLNK(target->facts.st_mode);
  switch (change->what) {
    case SIZE: return truncate(name, change->size) ? -errno : 0;
    case MODE: {
      mode_t mode = S_ISDIR(target->facts.st_mode) ? change->mode : mode_without_ids(target->path, change->mode);
      return is_link ? -EOPNOTSUPP : chmod(name, mode & 07777) ? -errno : 0;
    }
    case OWNER: return fchownat(target->fd, "", change->uid, change->gid, AT_EMPTY_PATH) ? -errno : 0;
    default:
      if (is_link) return syscall(SYS_utimensat, target->fd, "", change->times, AT_EMPTY_PATH) ? -errno : 0;
      return utimensat(AT_FDCWD, name, change->times, 0) ? -errno : 0;
  }
}

/* A stream of the caller's has the size that its descriptor may write, and no mode, owner or times to change. */
static int check_stream(const struct seccomp_notif *request, const struct target *target, const struct change *change) {
  struct refusal why = {0};
  int own = stream_rights(target);
  if (own < 0 || (change->what == SIZE && own & WRITING)) return 0;
  refuse_stream(&why);
  report_refusal(request, target->path, WRITING, &why);
  return -EACCES;
}

static int change_target(const struct seccomp_notif *request, struct target *target, const struct change *change) {
  int failed = check_access(request, target, WRITING);
  if (!failed) failed = check_stream(request, target, change);
  if (!failed && change->what == SIZE && S_ISFIFO(target->facts.st_mode)) failed = -EINVAL;
  if (!failed) failed = apply(target, change);
  close_target(target);
  return failed;
}

static int change_path(const struct seccomp_notif *request, int folder, uint64_t path_at, int flags,
                       const struct change *change) {
  static struct caller_path caller_path;
  static struct target target;
  int failed = flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) ? -EINVAL : read_path(request, folder, path_at, &caller_path);
  if (failed) return failed;
  int is_descriptor = !caller_path.path[0] && flags & AT_EMPTY_PATH;
  failed = is_descriptor ? resolve_descriptor(request, folder, &target)
                  : resolve_path(request, folder, caller_path.path, !(flags & AT_SYMLINK_NOFOLLOW), &target);
  return failed ? failed : change_target(request, &target, change);
}

static int change_descriptor(const struct seccomp_notif *request, int number, const struct change *change) {
  static struct target target;
  int failed = resolve_descriptor(request, number, &target);
  if (failed || is_request_valid(request->id)) return failed ? failed : change_target(request, &target, change);
  close_target(&target);
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

/* Reads a pair of times; `form` is 0 for struct timespec, 1 for struct timeval, 2 for seconds (struct utimbuf). */
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

/* ---- dispatch ---- */

static int answer_at_call(const struct seccomp_notif *request, int64_t *value) {
  const __u64 *a = request->data.args;
  struct change mode = {.what = MODE, .mode = (mode_t)a[1]};
  struct change owner = {.what = OWNER, .uid = (uid_t)a[1], .gid = (gid_t)a[2]};
  struct change size = {.what = SIZE, .size = (int64_t)a[1]};
  switch (request->data.nr) {
    case SYS_mkdirat: *value = create_name(request, (int)a[0], a[1], FOLDER, a[2], 0); break;
    case SYS_mknodat: *value = create_name(request, (int)a[0], a[1], NODE, a[2], 0); break;
    case SYS_symlinkat: *value = create_name(request, (int)a[1], a[2], LINK, 0, a[0]); break;
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

/* Legacy calls, which newer architectures (arm64) lack. */
static int answer_legacy_call(const struct seccomp_notif *request, int64_t *value) {
  const __u64 *a = request->data.args;
  switch (request->data.nr) {
#ifdef SYS_mkdir
    case SYS_mkdir: *value = create_name(request, AT_FDCWD, a[0], FOLDER, a[1], 0); break;
    case SYS_mknod: *value = create_name(request, AT_FDCWD, a[0], NODE, a[1], 0); break;
    case SYS_symlink: *value = create_name(request, AT_FDCWD, a[1], LINK, 0, a[0]); break;
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
  if (!answer_at_call(request, &value) && !answer_legacy_call(request, &value)) return 0;
  send_answer(request->id, value < 0 ? 0 : value, value < 0 ? (int)value : 0);
  return 1;
}

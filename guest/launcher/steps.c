/*
 * The steps of a jail, each one or a few system calls. launcher.c executes them before an exec, guest/zygote/zygote.c after a
 * fork: the same code, with the same list of steps.
 *
 * The process exits at the first step that fails: it writes the step's name and errno to the readiness pipe; the exit code is
 * 1. Only a step marked "Optional" ignores an error.
 *
 * Relies on Linux 5.12: open_tree(2), move_mount(2), mount_setattr(2), close_range(2); Landlock where it is asked for.
 */
#define _GNU_SOURCE
#include "steps.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Defined here: headers of a distribution may be older than its kernel, and <sys/mount.h> clashes with <linux/mount.h>. */
enum { BIND = 4096, REC = 16384, PRIVATE = 1 << 18, RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, REMOUNT = 32 };
enum { DETACH = 2, RECURSIVE = 0x8000, FROM_EMPTY = 4 };
enum { TREES_MAX = 128, PATH_BYTES_MAX = 4096, FILTER_BYTES_MAX = 65536, CAPABILITIES_MAX = 64, COPY_BYTES = 1 << 20 };

#define INOTIFY_INSTANCES_MAX "16"

struct rights {
  uint64_t files, net, scoped;
};

const char *step_name = "start";
static int trees[TREES_MAX];
static int tree_count;

_Noreturn void fail(const char *what) {
  char text[400];
  int error = errno;
  int n = snprintf(text, sizeof text, "Elauncher: %s %.200s: %s", step_name, what, strerror(error));
  if (n > 0 && write(READY_FD, text, (size_t)n) < 0) _exit(2);
  _exit(1);
}

void must(int good, const char *what) {
  if (!good) fail(what);
}

long number(const char *text) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno == 0 && (end == text || *end)) errno = EINVAL;
  must(errno == 0, text);
  return value;
}

struct named {
  const char *name;
  int value;
};

static int value_of(const struct named *known, size_t count, const char *name) {
  for (size_t k = 0; k < count; k++)
    if (!strcmp(name, known[k].name)) return known[k].value;
  errno = EINVAL;
  fail(name);
}

static void write_at(int folder, const char *path, const char *text) {
  int fd = openat(folder, path, O_WRONLY | O_CLOEXEC);
  must(fd >= 0, path);
  must(write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
  close(fd);
}

/* mkdir -p */
static void make_folders(const char *path) {
  char part[PATH_BYTES_MAX];
  size_t length = strlen(path);
  errno = ENAMETOOLONG;
  must(length > 0 && length < sizeof part, path);
  memcpy(part, path, length + 1);
  for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    must(mkdir(part, 0755) == 0 || errno == EEXIST, part);
    *slash = '/';
  }
  must(mkdir(part, 0755) == 0 || errno == EEXIST, part);
}

static void make_parents(const char *path) {
  char parent[PATH_BYTES_MAX];
  const char *slash = strrchr(path, '/');
  if (!slash || slash == path) return;
  errno = ENAMETOOLONG;
  must((size_t)(slash - path) < sizeof parent, path);
  memcpy(parent, path, (size_t)(slash - path));
  parent[slash - path] = 0;
  make_folders(parent);
}

/* ---- process ---- */

static void enter_group(char **arg, int count) {
  for (int i = 0; i < count; i++) write_at(AT_FDCWD, arg[i], "0");
}

/* The same by open descriptors, for a process that cannot see the folders of the groups. */
static void enter_open_group(char **arg, int count) {
  for (int i = 0; i < count; i++) {
    int fd = (int)number(arg[i]);
    must(write(fd, "0", 1) == 1, arg[i]);
    close(fd);
  }
}

/* Ignored signals stay ignored after execve: signals to the service's process group take effect in the warden only. Runners
 * restore the defaults. */
static void ignore_signals(char **arg, int count) {
  (void)arg, (void)count;
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
}

static void die_with_parent(char **arg, int count) {
  (void)arg, (void)count;
  must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "");
}

/*
 * Raw system calls: glibc's wrappers signal every thread. A change of uid clears the parent-death signal and the dumpable flag;
 * /proc/self, in which the maps of a user namespace are written, then belongs to root until the next exec or PR_SET_DUMPABLE.
 * Dumpable is harmless here: no process outside of this wall has the uid.
 */
static void become(char **arg, int count) {
  (void)count;
  uid_t uid = (uid_t)number(arg[0]);
  gid_t gid = (gid_t)number(arg[1]);
  must(syscall(SYS_setgroups, 0, NULL) == 0, "groups");
  must(syscall(SYS_setresgid, gid, gid, gid) == 0, "gid");
  must(syscall(SYS_setresuid, uid, uid, uid) == 0, "uid");
  must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0, "dumpable");
}

/* A fork inherits the cleared dumpable flag of the template; /proc/self then belongs to root, and no map can be written. */
static void own_files_of_proc(char **arg, int count) {
  (void)arg, (void)count;
  must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0, "");
}

/* Maps one uid and one gid into the new user namespace; `proc` is an fd of /proc/self. */
static void map_user(int proc, uid_t inside, uid_t uid, gid_t group, gid_t gid) {
  char map[64];
  write_at(proc, "setgroups", "deny");
  snprintf(map, sizeof map, "%u %u 1", inside, uid);
  write_at(proc, "uid_map", map);
  snprintf(map, sizeof map, "%u %u 1", group, gid);
  write_at(proc, "gid_map", map);
}

static int open_own_proc(void) {
  int fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(fd >= 0, "/proc/self");
  return fd;
}

/*
 * Limit of inotify instances for this user namespace. The kernel counts instances per user (128 by default), and those of a
 * wall also for the user that started it. Optional: /proc/sys may be read-only, as in a container.
 */
static void bound_instances(void) {
  int fd = open("/proc/sys/user/max_inotify_instances", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, INOTIFY_INSTANCES_MAX, strlen(INOTIFY_INSTANCES_MAX)) < 0) errno = 0;
  close(fd);
}

/* Unshares the named namespaces; maps this user to root in a new user namespace. Mounts do not propagate out of the new mount
 * namespace. */
static void namespaces(char **arg, int count) {
  static const struct named known[] = {{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"net", CLONE_NEWNET},
                                       {"pid", CLONE_NEWPID},   {"ipc", CLONE_NEWIPC},  {"uts", CLONE_NEWUTS}};
  int flags = 0;
  for (int i = 0; i < count; i++) flags |= value_of(known, sizeof known / sizeof *known, arg[i]);
  uid_t uid = geteuid();
  gid_t gid = getegid();
  must(unshare(flags) == 0, "");
  if (flags & CLONE_NEWUSER) {
    int proc = open_own_proc();
    map_user(proc, 0, uid, 0, gid);
    close(proc);
    bound_instances();
  }
  if (flags & CLONE_NEWNS) must(syscall(SYS_mount, NULL, "/", NULL, REC | PRIVATE, NULL) == 0, "private");
}

/* The same for a process that was cloned into its namespaces; the arguments are its uid and gid before the clone. */
static void in_namespaces(char **arg, int count) {
  (void)count;
  int proc = open_own_proc();
  map_user(proc, 0, (uid_t)number(arg[0]), 0, (gid_t)number(arg[1]));
  close(proc);
  must(syscall(SYS_mount, NULL, "/", NULL, REC | PRIVATE, NULL) == 0, "private");
}

static int own_proc = -1;

/* Opens /proc/self for `own-user`, which runs after the host's /proc was unmounted; the wall's own is read-only. */
static void keep_proc(char **arg, int count) {
  (void)arg, (void)count;
  own_proc = open_own_proc();
}

/*
 * A child user namespace in which this process has a uid other than 0, as in bubblewrap. Created after the mounts, because
 * devpts needs uid 0; capabilities in this namespace have no effect on them. A reader of uid_map sees the uids of the parent
 * namespace, so the host uid is not visible.
 */
static void own_user(char **arg, int count) {
  (void)count;
  uid_t uid = geteuid();
  gid_t gid = getegid();
  errno = EBADF;
  must(own_proc >= 0, "keep-proc is missing");
  must(unshare(CLONE_NEWUSER) == 0, "");
  map_user(own_proc, (uid_t)number(arg[0]), uid, (gid_t)number(arg[1]), gid);
  close(own_proc);
}

/*
 * The child continues, as the first process of a new pid namespace, with a parent-death signal. This process waits for it
 * and exits with its status, or by the same signal.
 */
static void fork_child(char **arg, int count) {
  (void)arg, (void)count;
  pid_t own = getpid();
  pid_t child = fork();
  must(child >= 0, "");
  if (child == 0) {
    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "");
    /* Race: a parent that died before prctl left this child to another. In a new pid namespace getppid() is 0. */
    if (getppid() != 0 && getppid() != own) _exit(1);
    return;
  }
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) _exit(1);
  if (WIFEXITED(status)) _exit(WEXITSTATUS(status));
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(WTERMSIG(status), SIG_DFL);
  kill(getpid(), WTERMSIG(status));
  _exit(128 + WTERMSIG(status));
}

/* Lowers the soft and the hard limit; never raises the hard limit. */
static void limit(char **arg, int count) {
  static const struct named known[] = {{"core", RLIMIT_CORE},   {"nofile", RLIMIT_NOFILE},   {"data", RLIMIT_DATA},
                                       {"fsize", RLIMIT_FSIZE}, {"memlock", RLIMIT_MEMLOCK}, {"nproc", RLIMIT_NPROC},
                                       {"locks", RLIMIT_LOCKS}};
  (void)count;
  __rlimit_resource_t resource = (__rlimit_resource_t)value_of(known, sizeof known / sizeof *known, arg[0]);
  rlim_t wanted = (rlim_t)number(arg[1]);
  struct rlimit now;
  must(getrlimit(resource, &now) == 0, arg[0]);
  if (now.rlim_max < wanted) wanted = now.rlim_max;
  now.rlim_cur = now.rlim_max = wanted;
  must(setrlimit(resource, &now) == 0, arg[0]);
}

/* ---- mounts ---- */

static void close_projects(char **arg, int count) {
  (void)arg, (void)count;
  /* Sets an empty project map for disk quotas: any process inside could write it, but only once. Optional: without a user
   * namespace there is no map. */
  int fd = open("/proc/self/projid_map", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "0 0 1", 5) < 0) errno = 0;
  close(fd);
}

static void clone_tree_at(int folder, const char *path, unsigned int flags) {
  errno = E2BIG;
  must(tree_count < TREES_MAX, path);
  trees[tree_count] = (int)syscall(SYS_open_tree, folder, path, flags | OPEN_TREE_CLONE | O_CLOEXEC | RECURSIVE);
  must(trees[tree_count] >= 0, path);
  tree_count++;
}

static void clone_tree(const char *path) {
  clone_tree_at(AT_FDCWD, path, 0);
}

/* Clones the mounts at each path (open_tree), detached; other steps refer to the clones by index, in order from 0. */
static void clone_trees(char **arg, int count) {
  for (int i = 0; i < count; i++) clone_tree(arg[i]);
}

/* The same without following symbolic links: a process that may write to a parent folder could replace it by one (TOCTOU). */
static void clone_trees_nofollow(char **arg, int count) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
  for (int i = 0; i < count; i++) {
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, arg[i], &how, sizeof how);
    must(fd >= 0, arg[i]);
    clone_tree_at(fd, "", AT_EMPTY_PATH);
    close(fd);
  }
}

static int open_owned(const char *path, uid_t owner, int is_mapped) {
  struct stat facts;
  int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  must(fd >= 0 && fstat(fd, &facts) == 0, path);
  errno = EACCES;
  must(facts.st_uid == owner || (is_mapped && facts.st_uid == getuid()), path);
  return fd;
}

/* The owner of a layer's folder could swap it for a link (TOCTOU): clones from the descriptor that was opened and checked. */
static void clone_layer_tree(char **arg, int count) {
  (void)count;
  char below[PATH_BYTES_MAX], opened[64];
  uid_t owner = (uid_t)number(arg[2]);
  int is_mapped = !strcmp(arg[3], "mapped");
  int root = open_owned(arg[0], owner, is_mapped);
  errno = ENAMETOOLONG;
  must(snprintf(below, sizeof below, "/proc/self/fd/%d/%s", root, arg[1]) < (int)sizeof below, arg[1]);
  int content = open_owned(below, owner, is_mapped);
  snprintf(opened, sizeof opened, "/proc/self/fd/%d", content);
  clone_tree(opened);
  close(content);
  close(root);
}

static int tree_at(const char *index) {
  long at = number(index);
  errno = EINVAL;
  must(at >= 0 && at < tree_count, index);
  return trees[at];
}

static void attach(int tree, const char *path) {
  struct stat facts;
  must(fstat(tree, &facts) == 0, path);
  if (S_ISDIR(facts.st_mode)) make_folders(path);
  else {
    make_parents(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    /* Below a read-only mount the mount point must exist. */
    if (fd >= 0) close(fd);
  }
  must(syscall(SYS_move_mount, tree, "", AT_FDCWD, path, FROM_EMPTY) == 0, path);
  close(tree);
}

static void attach_readonly(char **arg, int count) {
  (void)count;
  struct mount_attr wanted = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
  int tree = tree_at(arg[0]);
  must(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | RECURSIVE, &wanted, sizeof wanted) == 0, arg[1]);
  attach(tree, arg[1]);
}

/* Writable, with nosuid and nodev. */
static void attach_writable(char **arg, int count) {
  (void)count;
  struct mount_attr wanted = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
  int tree = tree_at(arg[0]);
  must(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | RECURSIVE, &wanted, sizeof wanted) == 0, arg[1]);
  attach(tree, arg[1]);
}

/* Overlay of the folder `lower` at a path: changes are stored in `upper`. */
static void overlay(char **arg, int count) {
  (void)count;
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
  char options[256];
  int fds[3];
  for (int i = 0; i < 3; i++) {
    fds[i] = (int)syscall(SYS_openat2, AT_FDCWD, arg[i], &how, sizeof how);
    must(fds[i] >= 0, arg[i]);
  }
  /* By descriptors: a path may contain the separators of mount options, comma and colon. */
  const char *form = "lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,userxattr";
  snprintf(options, sizeof options, form, fds[0], fds[1], fds[2]);
  make_folders(arg[3]);
  must(syscall(SYS_mount, "mayfly", arg[3], "overlay", NOSUID | NODEV, options) == 0, arg[3]);
  for (int i = 0; i < 3; i++) close(fds[i]);
}

static void attach_as_is(char **arg, int count) {
  (void)count;
  attach(tree_at(arg[0]), arg[1]);
}

static void tmpfs(char **arg, int count) {
  (void)count;
  must(syscall(SYS_mount, "mayfly", arg[0], "tmpfs", NOSUID | NODEV, arg[1]) == 0, arg[0]);
}

static void make_readonly(const char *path) {
  unsigned long flags = REMOUNT | BIND | RDONLY | NOSUID | NODEV | NOEXEC;
  must(syscall(SYS_mount, NULL, path, NULL, flags, NULL) == 0, path);
}

static void readonly(char **arg, int count) {
  for (int i = 0; i < count; i++) make_readonly(arg[i]);
}

static void detach(char **arg, int count) {
  (void)count;
  must(syscall(SYS_umount2, arg[0], DETACH) == 0, arg[0]);
}

static void folder(char **arg, int count) {
  mode_t mode = (mode_t)strtol(arg[0], NULL, 8);
  for (int i = 1; i < count; i++) {
    make_folders(arg[i]);
    must(chmod(arg[i], mode) == 0, arg[i]);
  }
}

static void own(char **arg, int count) {
  uid_t uid = (uid_t)number(arg[0]);
  for (int i = 1; i < count; i++) must(chown(arg[i], uid, (gid_t)uid) == 0, arg[i]);
}

/* Writes a file from the concatenated arguments: the kernel limits one argument to 128 KiB (MAX_ARG_STRLEN). */
static void file(char **arg, int count) {
  make_parents(arg[1]);
  int fd = open(arg[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  must(fd >= 0, arg[1]);
  for (int i = 2; i < count; i++) {
    size_t length = strlen(arg[i]);
    must(write(fd, arg[i], length) == (ssize_t)length, arg[1]);
  }
  must(fchmod(fd, (mode_t)strtol(arg[0], NULL, 8)) == 0, arg[1]);
  close(fd);
}

/* Copies the content of a descriptor to a file, without moving its offset. */
static void copy(char **arg, int count) {
  (void)count;
  make_parents(arg[1]);
  int from = (int)number(arg[0]);
  int to = open(arg[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0500);
  must(to >= 0, arg[1]);
  off_t at = 0;
  for (ssize_t n = 1; n > 0;) must((n = sendfile(to, from, &at, COPY_BYTES)) >= 0, arg[1]);
  close(to);
}

static void link_to(char **arg, int count) {
  (void)count;
  make_parents(arg[1]);
  must(symlink(arg[0], arg[1]) == 0, arg[1]);
}

static void proc(char **arg, int count) {
  (void)count;
  make_folders(arg[0]);
  must(syscall(SYS_mount, "proc", arg[0], "proc", NOSUID | NODEV | NOEXEC, NULL) == 0, arg[0]);
}

/*
 * Mounts a devpts instance of the wall's own. Optional: if the kernel refuses, the folder stays empty and the wall has no
 * terminals.
 */
static void terminals(char **arg, int count) {
  (void)count;
  make_folders(arg[0]);
  if (syscall(SYS_mount, "mayfly", arg[0], "devpts", NOSUID | NOEXEC, arg[1]) != 0) errno = 0;
}

/* Masks existing paths, and skips those that this kernel does not have. */
static void cover(char **arg, int count, int is_folder) {
  struct stat facts;
  for (int i = 0; i < count; i++) {
    if (stat(arg[i], &facts) < 0) {
      must(errno == ENOENT, arg[i]);
      continue;
    }
    if (is_folder) {
      must(syscall(SYS_mount, "mayfly", arg[i], "tmpfs", NOSUID | NODEV, "size=4096,nr_inodes=2,mode=555") == 0, arg[i]);
      make_readonly(arg[i]);
    } else {
      must(syscall(SYS_mount, "/dev/null", arg[i], NULL, BIND, NULL) == 0, arg[i]);
    }
  }
}

static void cover_folders(char **arg, int count) {
  cover(arg, count, 1);
}

static void cover_files(char **arg, int count) {
  cover(arg, count, 0);
}

static void pivot(char **arg, int count) {
  (void)count;
  must(chdir(arg[0]) == 0, arg[0]);
  must(syscall(SYS_pivot_root, ".", ".") == 0, arg[0]);
  must(syscall(SYS_umount2, ".", DETACH) == 0, "the old root");
  must(chdir("/") == 0, "/");
}

static void work_in(char **arg, int count) {
  (void)count;
  must(chdir(arg[0]) == 0, arg[0]);
}

static void hostname(char **arg, int count) {
  (void)count;
  must(sethostname(arg[0], strlen(arg[0])) == 0, arg[0]);
}

static void loopback(char **arg, int count) {
  (void)arg, (void)count;
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0, "lo");
  close(fd);
}

/* ---- rights ---- */

/* Runs before a change of uid, since it needs CAP_SETPCAP; `optional` ignores EPERM of a user without capabilities. */
static void empty_bounding_set(char **arg, int count) {
  for (unsigned long one = 0; one < CAPABILITIES_MAX; one++) {
    if (prctl(PR_CAPBSET_DROP, one, 0, 0, 0) == 0) continue;
    if (errno == EINVAL || (errno == EPERM && count && !strcmp(arg[0], "optional"))) return;
    fail("");
  }
}

/* Drops all capabilities from the bounding set except these (numbers); the exec then removes them from the other sets. */
static void keep_capabilities(char **arg, int count) {
  uint64_t kept = 0;
  for (int i = 0; i < count; i++) {
    long one = number(arg[i]);
    errno = EINVAL;
    must(one >= 0 && one < CAPABILITIES_MAX, arg[i]);
    kept |= 1ull << one;
  }
  for (unsigned long one = 0; one < CAPABILITIES_MAX; one++) {
    if (kept & 1ull << one || prctl(PR_CAPBSET_DROP, one, 0, 0, 0) == 0) continue;
    must(errno == EINVAL, "");
    return;
  }
}

static void drop_capabilities(char **arg, int count) {
  (void)arg, (void)count;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}};
  must(syscall(SYS_capset, &header, none) == 0, "");
}

static void no_new_privileges(char **arg, int count) {
  (void)arg, (void)count;
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "");
}

static void allow(int rules, const char *path, uint64_t rights) {
  /* Rights that Landlock accepts for a file: execute, write, read, truncate, ioctl. */
  const uint64_t of_files = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;
  struct stat facts;
  int fd = open(path, O_PATH | O_CLOEXEC);
  must(fd >= 0 && fstat(fd, &facts) == 0, path);
  struct landlock_path_beneath_attr rule = {
      .allowed_access = S_ISDIR(facts.st_mode) ? rights : rights & of_files,
      .parent_fd = fd,
  };
  must(syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0, path);
  close(fd);
}

/* Highest Landlock ABI version to use. */
static long landlock_abi_max = 1 << 16;

static void set_landlock_abi_max(char **arg, int count) {
  (void)count;
  landlock_abi_max = number(arg[0]);
}

/* Arguments: `net` or `no-net`, the number of readable paths, the readable paths, the writable paths. See landlock(7). */
static void landlock(char **arg, int count) {
  const uint64_t read_and_execute = 1 << 2 | 1 << 3 | 1;
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
  must(version >= 1, "");
  if (version > landlock_abi_max) version = landlock_abi_max;
  struct rights handled = {.files = (1 << 13) - 1};
  if (version >= 2) handled.files |= 1 << 13;
  if (version >= 3) handled.files |= 1 << 14;
  if (version >= 5) handled.files |= 1 << 15;
  if (version >= 4 && !strcmp(arg[0], "net")) handled.net = 3;
  if (version >= 6) handled.scoped = 3;
  size_t size = version >= 6 ? sizeof handled : version >= 4 ? 16 : 8;
  int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
  must(rules >= 0, "rules");
  long readable = number(arg[1]);
  for (int i = 2; i < count; i++) allow(rules, arg[i], i < 2 + readable ? read_and_execute : handled.files);
  must(syscall(SYS_landlock_restrict_self, rules, 0) == 0, "");
  close(rules);
}

/* Sets close-on-exec on all descriptors from 3 up, except these. */
static void keep(char **arg, int count) {
  must(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0, "");
  for (int i = 0; i < count; i++) must(fcntl((int)number(arg[i]), F_SETFD, 0) == 0, arg[i]);
}

static void close_descriptors(char **arg, int count) {
  for (int i = 0; i < count; i++) must(close((int)number(arg[i])) == 0, arg[i]);
}

/* Opens /dev/null at these descriptors, so that the program gets none of them for its own files. */
static void reserve(char **arg, int count) {
  for (int i = 0; i < count; i++) {
    int wanted = (int)number(arg[i]);
    int fd = open("/dev/null", O_RDONLY);
    must(fd >= 0, "/dev/null");
    if (fd == wanted) continue;
    must(dup2(fd, wanted) == wanted, arg[i]);
    close(fd);
  }
}

static int nibble(char digit) {
  const char *digits = "0123456789abcdef";
  const char *at = digit ? strchr(digits, digit) : NULL;
  errno = EINVAL;
  must(at != NULL, "hex");
  return (int)(at - digits);
}

static void seccomp_filter(char **arg, int count) {
  (void)count;
  static unsigned char code[FILTER_BYTES_MAX] __attribute__((aligned(8)));
  size_t length = strlen(arg[0]) / 2;
  errno = EINVAL;
  must(length > 0 && length <= sizeof code && length % sizeof(struct sock_filter) == 0, "length");
  for (size_t i = 0; i < length; i++) code[i] = (unsigned char)(nibble(arg[0][2 * i]) << 4 | nibble(arg[0][2 * i + 1]));
  struct sock_fprog program = {
      .len = (unsigned short)(length / sizeof(struct sock_filter)),
      .filter = (struct sock_filter *)(void *)code,
  };
  must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0, "");
}

static void set_variables(char **arg, int count) {
  must(clearenv() == 0, "");
  for (int i = 0; i < count; i++) must(putenv(arg[i]) == 0, arg[i]);
}

static void become_program(char **arg, int count) {
  (void)count;
  execv(arg[0], arg + 1);
  fail(arg[0]);
}

static const struct {
  const char *name;
  void (*carry_out)(char **arg, int count);
  /* Minimum of arguments. */
  int least;
} steps[] = {
    {"group", enter_group, 0},
    {"open-group", enter_open_group, 0},
    {"ignore-signals", ignore_signals, 0},
    {"die-with-parent", die_with_parent, 0},
    {"become", become, 2},
    {"own-proc", own_files_of_proc, 0},
    {"namespaces", namespaces, 1},
    {"in-namespaces", in_namespaces, 2},
    {"fork", fork_child, 0},
    {"keep-proc", keep_proc, 0},
    {"own-user", own_user, 2},
    {"limit", limit, 2},
    {"close-projects", close_projects, 0},
    {"grab", clone_trees, 1},
    {"grab-real", clone_trees_nofollow, 1},
    {"grab-layer", clone_layer_tree, 4},
    {"attach-readonly", attach_readonly, 2},
    {"attach-writable", attach_writable, 2},
    {"overlay", overlay, 4},
    {"attach", attach_as_is, 2},
    {"tmpfs", tmpfs, 2},
    {"readonly", readonly, 1},
    {"detach", detach, 1},
    {"folder", folder, 2},
    {"own", own, 2},
    {"file", file, 3},
    {"copy", copy, 2},
    {"link", link_to, 2},
    {"proc", proc, 1},
    {"terminals", terminals, 2},
    {"cover-folders", cover_folders, 0},
    {"cover-files", cover_files, 0},
    {"pivot", pivot, 1},
    {"work-in", work_in, 1},
    {"hostname", hostname, 1},
    {"loopback", loopback, 0},
    {"empty-bounding-set", empty_bounding_set, 0},
    {"keep-capabilities", keep_capabilities, 0},
    {"drop-capabilities", drop_capabilities, 0},
    {"no-new-privileges", no_new_privileges, 0},
    {"landlock-most", set_landlock_abi_max, 1},
    {"landlock", landlock, 2},
    {"close", close_descriptors, 1},
    {"keep", keep, 0},
    {"reserve", reserve, 1},
    {"seccomp", seccomp_filter, 1},
    {"variables", set_variables, 0},
    {"exec", become_program, 2},
};

static void carry_out_one(const char *name, char **arg, int count) {
  for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
    if (strcmp(name, steps[k].name)) continue;
    errno = EINVAL;
    must(count >= steps[k].least, "needs more arguments");
    steps[k].carry_out(arg, count);
    return;
  }
  errno = EINVAL;
  fail("is not a known step");
}

void carry_out(char **word, int words) {
  for (char **end = word + words; word + 1 < end;) {
    const char *name = step_name = word[0];
    long count = number(word[1]);
    errno = EINVAL;
    must(count >= 0 && count <= end - word - 2, "has fewer arguments than its count");
    /* execv takes a list that ends with NULL, and exec is the last step. */
    if (!strcmp(name, "exec")) must(count == end - word - 2, "is not last");
    carry_out_one(name, word + 2, (int)count);
    word += 2 + count;
  }
}

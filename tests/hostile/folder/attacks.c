/*
 * Attacks on the wall of a folder, from inside: `attacks NAME` ends with 0 where the attack was held, 1 where it got what it
 * wanted, 2 where it could not be tried. The test looks at the folder from outside as well.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

enum { ROUNDS = 3000, SWAPS = 200 };
#define SECRET "SECRET-OF-THE-FOLDER"

/* ---- helpers ---- */

static int writes_at(int folder, const char *path, int flags) {
  int fd = openat(folder, path, flags | O_CLOEXEC, 0755);
  if (fd < 0) return 0;
  int n = (int)write(fd, "evil\n", 5);
  close(fd);
  return n == 5;
}

static int writes(const char *path) {
  return writes_at(AT_FDCWD, path, O_WRONLY | O_CREAT) || writes_at(AT_FDCWD, path, O_WRONLY | O_APPEND) ||
         writes_at(AT_FDCWD, path, O_RDWR) || writes_at(AT_FDCWD, path, O_WRONLY | O_TRUNC | O_CREAT);
}

static int has_secret(int fd) {
  char text[256] = "";
  ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
  if (fd >= 0) close(fd);
  return n > 0 && strstr(text, SECRET) != NULL;
}

static int reads(const char *path) {
  return has_secret(open(path, O_RDONLY | O_CLOEXEC)) || has_secret(open(path, O_RDWR | O_CLOEXEC));
}

static int is_there(const char *path) {
  struct stat facts;
  return lstat(path, &facts) == 0;
}

static int is_repository(const char *folder) {
  int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct stat facts;
  int is_one = fstatat(fd, "HEAD", &facts, 0) == 0 && fstatat(fd, "refs", &facts, 0) == 0 &&
               fstatat(fd, "HEAD", &facts, 0) == 0;
  close(fd);
  return is_one;
}

static int put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  close(fd);
  return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int any(const char *const *paths, int (*tries)(const char *)) {
  int broke = 0;
  for (; *paths; paths++) broke |= tries(*paths);
  return broke;
}

/* ---- names ---- */

static int direct(void) {
  static const char *const paths[] = {
      ".git/hooks/pre-commit", ".git/config", ".git/config.worktree", ".git/commondir", ".bashrc", ".zshrc", ".profile",
      ".gitconfig", ".gitmodules", ".vscode/tasks.json", ".vscode", ".idea/x.xml", ".envrc", ".mcp.json",
      ".claude/settings.json", ".codex/config.toml", ".cursor/mcp.json", ".gemini/settings.json", "mayfly.toml",
      "mise.toml", ".mise/config.toml", ".npmrc", ".pre-commit-config.yaml", "lefthook.yml", ".devcontainer.json",
      ".dir-locals-2.el", ".helix/languages.toml", "a.code-workspace", ".git/lazygit.yml", "crush.json", ".windsurfrules",
      "mayfly.prod.toml", "sub/.git/config", "sub/.bashrc", "deep/er/.envrc", NULL};
  mkdir("deep", 0755);
  mkdir("deep/er", 0755);
  return any(paths, writes);
}

static int folders(void) {
  return mkdir(".vscode", 0755) == 0 || mkdir(".claude", 0755) == 0 || mkdir("sub/.idea", 0755) == 0 ||
         mkdir("new/.git", 0755) == 0;
}

static int spellings(void) {
  static const char *const paths[] = {".GIT/config", ".Git/hooks/x", ".git/HOOKS/x", ".BASHRC", ".Bashrc",
                                      ".gi\xe2\x80\x8ct/config", ".ba\xc5\xbfhrc", ".git./config", ".bashrc ",
                                      "git~1/config", ".bashrc::$DATA", ".VSCODE/x", ".\xef\xbb\xbf" "zshrc", ".git/con\xef\xac\x81g", ".pro\xef\xac\x81le",
                                      "may\xef\xac\x82y.toml", ".bash\xcd\x8f" "rc", ".bashr\xe3\x85\xa4" "c",
                                      ".zsh\xf3\xa0\x81\x81rc", NULL};
  mkdir(".GIT", 0755);
  mkdir(".VSCODE", 0755);
  mkdir("git~1", 0755);
  return any(paths, writes);
}

static int detours(void) {
  static const char *const paths[] = {"./.git/./config", "sub/../.git/config", "//proc/self/cwd/.git/config",
                                      "/proc/self/root/proc/self/cwd/.bashrc", "/proc/thread-self/cwd/.zshrc",
                                      ".git/hooks/../config", ".git//config", NULL};
  return any(paths, writes);
}

static int symbolic_links(void) {
  if (symlink(".git/config", "l1") || symlink(".git", "l2") || symlink(".bashrc", "l3") || symlink(".", "l4")) return 2;
  return writes("l1") || writes("l2/config") || writes("l2/hooks/x") || writes("l3") || writes("l4/.zshrc") ||
         writes("was-link") || symlink("x", ".bashrc") == 0 || symlink("x", ".git/hooks/pre-push") == 0;
}

static int hard_links(void) {
  int broke = link(".git/config", "h1") == 0 || link(".env", "h2") == 0 || link("plain", ".bashrc") == 0 ||
              link("plain", ".git/hooks/pre-commit") == 0 || linkat(AT_FDCWD, "was-link", AT_FDCWD, "h3", AT_SYMLINK_FOLLOW) == 0;
  return broke || writes("other-name");
}

static int link_unnamed(void) {
  char name[64];
  int fd = open(".", O_TMPFILE | O_RDWR, 0755);
  if (fd < 0 || write(fd, "evil", 4) != 4) return 2;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  return linkat(fd, "", AT_FDCWD, ".git/hooks/pre-commit", AT_EMPTY_PATH) == 0 ||
         linkat(AT_FDCWD, name, AT_FDCWD, ".zshrc", AT_SYMLINK_FOLLOW) == 0 ||
         linkat(AT_FDCWD, name, AT_FDCWD, "fine", AT_SYMLINK_FOLLOW) != 0;
}

static int moves_away(void) {
  return rename(".git", "g") == 0 || rename(".git/hooks", "hooks") == 0 || rename(".git/config", "c") == 0 ||
         rename(".env", "e") == 0 || (rename("sub", "sub2") == 0 && writes("sub2/.git/config"));
}

static int other_repositories(void) {
  static const char *const paths[] = {".hg/hgrc", ".hg/sharedpath", ".HG/hgrc-not-shared", ".jj/repo/config.toml",
                                      "sub/.sl/config", NULL};
  mkdir("fake-hg", 0755);
  mkdir("fake-hg/repo", 0755);
  if (put("fake-hg/repo/config.toml", "") || put("fake-hg/hgrc", "[hooks]\n") || put("fake-hg/settings", "")) return 2;
  return any(paths, writes) || unlink(".hg/hgrc") == 0 || rename("fake-hg/settings", ".hg/hgrc") == 0 ||
         rename("fake-hg/repo", ".jj/other") == 0 || rename("fake-hg", "sub/.hg") == 0 || rename(".hg", "hg") == 0 ||
         mkdir("sub/.jj", 0755) == 0;
}

static int moves_in(void) {
  mkdir("fake", 0755);
  mkdir("fake/hooks", 0755);
  if (put("fake/config", "[core]\nfsmonitor = evil\n") || put("fake/hooks/pre-commit", "evil")) return 2;
  return rename("fake", "new/.git") == 0 || rename("fake", "sub/.git") == 0 ||
         rename("fake/hooks/pre-commit", ".git/hooks/pre-commit") == 0 || rename("fake/hooks", ".git/hooks") == 0 ||
         rename("fake/config", ".git/config") == 0 || rename("fake", ".vscode") == 0 || rename("fake/config", ".bashrc") == 0;
}

static int exchanges(void) {
  mkdir("fake2", 0755);
  return syscall(SYS_renameat2, AT_FDCWD, "fake2", AT_FDCWD, ".git", RENAME_EXCHANGE) == 0 ||
         syscall(SYS_renameat2, AT_FDCWD, "plain", AT_FDCWD, ".git/config", RENAME_EXCHANGE) == 0 ||
         syscall(SYS_renameat2, AT_FDCWD, ".env", AT_FDCWD, "plain", RENAME_EXCHANGE) == 0 ||
         syscall(SYS_renameat2, AT_FDCWD, "plain", AT_FDCWD, "w", 4 /* RENAME_WHITEOUT */) == 0;
}

static int removes(void) {
  return unlink(".git/config") == 0 || unlink(".git/hooks/existing") == 0 || unlink(".env") == 0 ||
         unlinkat(AT_FDCWD, ".git/hooks", AT_REMOVEDIR) == 0;
}

static int by_descriptor_of_folder(void) {
  int git = open(".git", O_RDONLY | O_DIRECTORY), hooks = open(".git/hooks", O_PATH | O_DIRECTORY);
  if (git < 0 || hooks < 0) return 2;
  int broke = writes_at(git, "config", O_WRONLY) || writes_at(hooks, "pre-push", O_WRONLY | O_CREAT) ||
              mkdirat(git, "hooks/x", 0755) == 0 || symlinkat("x", hooks, "y") == 0;
  if (fchdir(git)) return 2;
  return broke || writes("config") || writes("hooks/a") || writes("../.bashrc");
}

static int reopens(void) {
  char name[64];
  int fd = open(".git/config", O_RDONLY), bare = open(".git/config", O_PATH);
  if (fd < 0 || bare < 0) return 2;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  int broke = writes(name);
  snprintf(name, sizeof name, "/proc/%d/fd/%d", getpid(), bare);
  broke |= writes(name);
  snprintf(name, sizeof name, "/dev/fd/%d", fd);
  return broke | writes(name);
}

static int metadata(void) {
  struct timespec times[2] = {{1, 0}, {1, 0}};
  int fd = open(".git/config", O_RDONLY), flags = FS_APPEND_FL;
  if (fd < 0) return 2;
  return chmod(".git/config", 0777) == 0 || fchmod(fd, 0777) == 0 || chmod(".git/hooks/existing", 0777) == 0 ||
         fchmodat(AT_FDCWD, ".git/hooks/existing", 0777, 0) == 0 || futimens(fd, times) == 0 ||
         utimensat(AT_FDCWD, ".git/config", times, 0) == 0 || truncate(".git/config", 0) == 0 ||
         fchown(fd, getuid(), getgid()) == 0 || ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0 ||
         syscall(SYS_fchmodat2, fd, "", 0777, AT_EMPTY_PATH) == 0 ||
         syscall(SYS_setxattr, ".git/config", "user.x", "1", 1, 0) == 0;
}

/* Standard input is a file that was given for reading alone, standard output one that was given for writing alone. */
static int streams(void) {
  struct timespec times[2] = {{1, 0}, {1, 0}};
  char bare[64];
  const char *const names[] = {"/proc/self/fd/0", "/dev/stdin", "/dev/fd/0", "/proc/thread-self/fd/0", bare, NULL};
  int broke = 0;
  snprintf(bare, sizeof bare, "/proc/self/fd/%d", open("/dev/stdin", O_PATH));
  for (const char *const *name = names; *name; name++)
    broke |= writes(*name) || truncate(*name, 0) == 0 || chmod(*name, 0777) == 0 || utimensat(AT_FDCWD, *name, times, 0) == 0 ||
             open(*name, O_RDONLY | O_TRUNC) >= 0;
  broke |= fchmod(0, 0777) == 0 || futimens(0, times) == 0 || fchown(0, getuid(), getgid()) == 0;
  return broke || fchmod(1, 04755) == 0 || syscall(SYS_fchmodat2, 1, "", 04755, AT_EMPTY_PATH) == 0 || open("/dev/stdout", O_RDONLY) >= 0;
}

/* Honest: input is opened again for reading, and output for writing; the latter loses its content first. */
static int own_streams(void) {
  int in = open("/dev/stdin", O_RDONLY), out = open("/proc/self/fd/1", O_WRONLY | O_CREAT | O_APPEND, 0644);
  char text[64] = "";
  if (in < 0 || out < 0 || truncate("/dev/stdout", 0) || read(in, text, sizeof text - 1) <= 0) return 1;
  return write(out, text, strlen(text)) != (ssize_t)strlen(text);
}

/* Prints a line, reads none of the keys that are typed, and makes the file `full` when the terminal takes no more. */
static int unread_keys(void) {
  struct winsize size = {0};
  struct termios raw;
  signal(SIGTTOU, SIG_IGN);
  /* The size is set last, after the settings of the caller's terminal. */
  while (size.ws_col == 0)
    if (ioctl(0, TIOCGWINSZ, &size)) return 2;
  if (tcgetattr(0, &raw)) return 2;
  cfmakeraw(&raw);
  if (tcsetattr(0, TCSANOW, &raw)) return 2;
  puts("typed");
  fflush(stdout);
  for (int there = 0; there < 4000; usleep(10000))
    if (ioctl(0, FIONREAD, &there)) return 2;
  /* Buffers between the terminal and this program fill up as well. */
  usleep(500000);
  if (put("full", "")) return 2;
  for (;;) pause();
}

/* Set-user-ID or set-group-ID: 06000. */
static int has_ids(const char *name) {
  struct stat facts;
  return stat(name, &facts) == 0 && facts.st_mode & 06000;
}

static int set_ids(void) {
  char name[64];
  int fd = open("ids", O_WRONLY | O_CREAT, 06755), got = has_ids("ids");
  int unnamed = open(".", O_TMPFILE | O_RDWR, 06755);
  if (fd < 0 || unnamed < 0) return 2;
  snprintf(name, sizeof name, "/proc/self/fd/%d", unnamed);
  got |= fchmod(fd, 06755) == 0 && has_ids("ids");
  got |= chmod("ids", 04755) == 0 && has_ids("ids");
  got |= fchmodat(AT_FDCWD, "./ids", 02755, 0) == 0 && has_ids("ids");
  got |= syscall(SYS_fchmodat2, fd, "", 06755, AT_EMPTY_PATH) == 0 && has_ids("ids");
  got |= fchmod(unnamed, 06755) == 0 && linkat(AT_FDCWD, name, AT_FDCWD, "ids-unnamed", AT_SYMLINK_FOLLOW) == 0 && has_ids("ids-unnamed");
  got |= mknod("ids-node", S_IFREG | 06755, 0) == 0 && has_ids("ids-node");
  return got | (creat("ids-created", 06755) >= 0 && has_ids("ids-created"));
}

/* A program outside, such as git, renames config.lock over config when it has written it. */
static int locks_of_others(void) {
  static const char lock[] = ".git/config.lock";
  char name[64];
  int fd = open(lock, O_RDONLY);
  if (fd < 0 || put("evil-config", "[core]\nfsmonitor = evil\n")) return 2;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  return writes(lock) || writes(name) || truncate(lock, 0) == 0 || chmod(lock, 0666) == 0 || rename("evil-config", lock) == 0 ||
         (link(lock, "lock-link") == 0 && writes("lock-link")) || rename(lock, "moved-lock") == 0 || rename(lock, ".git/config") == 0 ||
         syscall(SYS_renameat2, AT_FDCWD, "evil-config", AT_FDCWD, lock, RENAME_EXCHANGE) == 0 || unlink(lock) == 0 ||
         rename("evil-config", "bare.git/config.lock") == 0;
}

/* Honest: a lock that the command made is written, and removed. */
static int own_locks(void) {
  static const char lock[] = "bare.git/config.lock";
  return put(lock, "[core]\n") || put(lock, "[a]\n") || chmod(lock, 0600) || unlink(lock) || put(lock, "") || unlink(lock);
}

static int nodes(void) {
  struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = ".git/hooks/pre-push"};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  return bind(fd, (struct sockaddr *)&to, sizeof to) == 0 || mkfifo(".git/hooks/fifo", 0755) == 0 ||
         mknod(".bashrc", S_IFREG | 0644, 0) == 0 || mknod("disk", S_IFBLK | 0600, 0x800) == 0;
}

static int other_calls(void) {
  struct open_how how = {.flags = O_WRONLY | O_CREAT, .mode = 0755};
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, ".git/hooks/a", &how, sizeof how);
  int made = (int)syscall(SYS_creat, ".zshrc", 0644);
  union {
    struct file_handle handle;
    char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
  } named = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
  int id, handle = name_to_handle_at(AT_FDCWD, ".git/config", &named.handle, &id, 0);
  /* A handle of the root of ext4, inode 2, where the file gives none. */
  if (handle != 0) {
    named.handle = (struct file_handle){.handle_bytes = 8, .handle_type = 1};
    named.handle.f_handle[0] = 2;
  }
  int opened = open_by_handle_at(AT_FDCWD, &named.handle, handle == 0 ? O_RDWR : O_RDONLY | O_DIRECTORY);
  return fd >= 0 || made >= 0 || handle == 0 || opened >= 0;
}

/* ---- creation of what is there ---- */

enum { SWAPPED = 90 };
static int two_folders[2];
static volatile int is_swapping;

static void *swap_folders(void *unused) {
  for (unsigned int i = 0; is_swapping; i++) dup2(two_folders[i & 1], SWAPPED);
  return unused;
}

/* A folder without a file and one with a hard link of a protected file, swapped while the name is created. */
static int created_race(void) {
  pthread_t thread;
  int broke = 0;
  is_swapping = 1;
  two_folders[0] = open("empty", O_PATH | O_DIRECTORY);
  two_folders[1] = open("full", O_PATH | O_DIRECTORY);
  if (dup2(two_folders[0], SWAPPED) < 0 || two_folders[1] < 0 || pthread_create(&thread, NULL, swap_folders, NULL)) return 2;
  for (int i = 0; i < ROUNDS && !broke; i++) {
    struct stat facts;
    int fd = openat(SWAPPED, "same", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    broke = fd >= 0 && fstat(fd, &facts) == 0 && facts.st_nlink > 1;
    if (fd >= 0) close(fd);
    unlinkat(two_folders[0], "same", 0);
  }
  is_swapping = 0;
  pthread_join(thread, NULL);
  return broke;
}

/* ---- git ---- */

static int git_redirects(void) {
  mkdir("evil", 0755);
  put("evil/config", "[core]\nfsmonitor = evil\n");
  return writes("sub2/.git") || writes("new/.git") || writes(".git/commondir") || writes(".git/worktrees/w/commondir") ||
         writes(".git/worktrees/w/gitdir") || writes(".git/modules/m/config") || writes(".git/modules/m/hooks/x") ||
         writes("included.cfg") || writes("githooks/pre-commit") || rename("githooks", "gh") == 0 ||
         (mkdir("gh2", 0755) == 0 && rename("gh2", "githooks") == 0);
}

static int git_goes_on(void) {
  mkdir(".git/refs/heads/feature", 0755);
  return !writes(".git/index") || !writes(".git/refs/heads/feature/config") || !writes(".git/refs/heads/hooks") ||
         !writes(".git/COMMIT_EDITMSG") || rename(".git/index", ".git/index.2") != 0;
}

static int bare_repository(void) {
  mkdir("b", 0755);
  mkdir("b/objects", 0755);
  mkdir("b/refs", 0755);
  put("b/config", "[core]\nfsmonitor = evil\n");
  return writes("b/HEAD") || symlink("../plain", "b/HEAD") == 0 || link("plain", "b/HEAD") == 0 ||
         rename("plain", "b/HEAD") == 0 || mkfifo("b/HEAD", 0644) == 0 || writes("bare.git/config") ||
         writes("bare.git/hooks/post-update") || rename("bare.git/hooks", "bh") == 0;
}

static void *make_heads(void *folder) {
  for (int i = 0; i < ROUNDS; i++) {
    int fd = openat((int)(intptr_t)folder, "HEAD", O_CREAT | O_WRONLY, 0644);
    if (fd >= 0) close(fd);
    unlinkat((int)(intptr_t)folder, "HEAD", 0);
  }
  return NULL;
}

/* HEAD and refs are made at once: never are both there when a call has returned. */
static int bare_repository_race(void) {
  pthread_t other;
  mkdir("r", 0755);
  mkdir("r/objects", 0755);
  int folder = open("r", O_PATH | O_DIRECTORY), broke = 0;
  pthread_create(&other, NULL, make_heads, (void *)(intptr_t)folder);
  for (int i = 0; i < ROUNDS; i++) {
    if (mkdirat(folder, "refs", 0755) == 0 && openat(folder, "HEAD", O_RDONLY) >= 0) broke = 1;
    unlinkat(folder, "refs", AT_REMOVEDIR);
  }
  pthread_join(other, NULL);
  return broke;
}

static int packages(void) {
  mkdir("node_modules", 0755);
  mkdir("node_modules/p", 0755);
  mkdir("node_modules/p/.vscode", 0755);
  if (put("node_modules/p/.vscode/tasks.json", "evil") || put("node_modules/p/.mcp.json", "evil")) return 2;
  symlink("p", "node_modules/q");
  symlink("../node_modules/p", "node_modules/l");
  mkdir("linked", 0755);
  return rename("node_modules/p", "p") == 0 || rename("node_modules", "nm") == 0 ||
         rename("node_modules/p/.vscode", ".vscode") == 0 || rename("node_modules/p/.mcp.json", ".mcp.json") == 0 ||
         symlink("node_modules/p", "p") == 0 || rename("node_modules/q", "q") == 0 ||
         link("node_modules/l", "linked/l") == 0 ||
         syscall(SYS_renameat2, AT_FDCWD, "node_modules/p", AT_FDCWD, "sub", RENAME_EXCHANGE) == 0 ||
         writes("node_modules/p/.git/config") || mkdir("node_modules/p/.git", 0755) == 0;
}

/* ---- races ---- */

static char flipped[64];
static const char *const flips[] = {"plain-file-name-1234", ".git/hooks/pre-commit"};

static void *flip_text(void *arg) {
  for (;;) {
    strcpy(flipped, flips[0]);
    strcpy(flipped, flips[1]);
  }
  return arg;
}

/* The kernel must not read a path again that was judged. */
static int text_race(void) {
  pthread_t other;
  pthread_create(&other, NULL, flip_text, NULL);
  for (int i = 0; i < ROUNDS; i++) {
    int fd = open(flipped, O_WRONLY | O_CREAT, 0755);
    if (fd >= 0) close(fd);
    rename("plain-file-name-1234", flipped);
    link("plain", flipped);
  }
  return is_there(".git/hooks/pre-commit");
}

static int link_race(void) {
  pid_t other = fork();
  if (other == 0)
    for (;;) {
      unlink("flip");
      symlink("plain", "flip");
      unlink("flip");
      symlink(".git/config", "flip");
    }
  for (int i = 0; i < ROUNDS; i++) writes_at(AT_FDCWD, "flip", O_WRONLY | O_APPEND);
  kill(other, SIGKILL);
  waitpid(other, NULL, 0);
  char text[4096] = "";
  int fd = open(".git/config", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) return 2;
  close(fd);
  return strstr(text, "evil") != NULL;
}

/* One process moves folders while another opens below them. */
static int move_race(void) {
  mkdir("m1", 0755);
  put("m1/config", "x");
  pid_t other = fork();
  if (other == 0)
    for (;;) {
      rename("m1", "m2");
      rename("m2", ".git");
      rename("m2", "new/.git");
      rename("m2", "m1");
    }
  for (int i = 0; i < ROUNDS; i++) {
    int fd = open("m1", O_PATH | O_DIRECTORY);
    if (fd < 0) continue;
    writes_at(fd, "config", O_WRONLY | O_CREAT);
    close(fd);
  }
  kill(other, SIGKILL);
  waitpid(other, NULL, 0);
  return is_there("new/.git/config");
}

static int descriptor_race(void) {
  static int numbers[2];
  numbers[0] = open("plain", O_RDONLY);
  numbers[1] = open(".git/config", O_RDONLY);
  if (numbers[1] < 0) return 2;
  pid_t other = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
  if (other == 0)
    for (;;) {
      dup2(numbers[0], 50);
      dup2(numbers[1], 50);
    }
  int broke = 0;
  for (int i = 0; i < ROUNDS; i++) {
    int fd = open("/proc/self/fd/50", O_WRONLY | O_APPEND);
    if (fd >= 0) {
      char path[256] = "", name[64];
      snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
      if (readlink(name, path, sizeof path - 1) > 0 && strstr(path, "config")) broke = 1;
      close(fd);
    }
    if (fchmod(50, 0700) == 0) continue;
  }
  kill(other, SIGKILL);
  waitpid(other, NULL, 0);
  return broke;
}

/* Waits for the same attack in another wall: 1 for the wall that came first, 2 for the other one, 0 if there is none. */
static int met_as(const char *first, const char *second) {
  if (mkdir(first, 0755)) return mkdir(second, 0755) ? 0 : 2;
  for (int i = 0; i < ROUNDS && !is_there(second); i++) usleep(10000);
  return is_there(second);
}

/* Two walls in one folder: the test starts this in both. */
static int two_walls(void) {
  int broke = 0;
  if (!met_as("together1", "together2")) return 2;
  mkdir("t1", 0755);
  put("t1/config", "evil");
  for (int i = 0; i < ROUNDS; i++) {
    rename("t1", "t2");
    rename("t2", "new/.git");
    rename("t2", "t1");
    int fd = open("t1", O_PATH | O_DIRECTORY);
    if (fd >= 0) writes_at(fd, "config", O_WRONLY | O_CREAT), close(fd);
    mkdir("tb", 0755), mkdir("tb/objects", 0755);
    if (i % 2) {
      mkdir("tb/refs", 0755);
      broke |= is_repository("tb");
      rmdir("tb/refs");
    } else if (put("tb/HEAD", "x") == 0) {
      broke |= is_repository("tb");
      unlink("tb/HEAD");
    }
  }
  return broke | is_there("new/.git");
}

/* Swap of a repository for an empty folder by one wall, while another writes its configuration by the same path. */
static int two_walls_swap(void) {
  int role = met_as("swaps", "writes"), broke = 0, swaps = 0;
  if (role == 2) {
    for (int i = 0; !broke && (i < 10 * ROUNDS || (i < 100 * ROUNDS && !is_there("swapped-often"))); i++) {
      int fd = open("bare.git/config", O_WRONLY | O_APPEND);
      if (fd >= 0) broke = write(fd, "evil\n", 5) == 5, close(fd);
    }
    return put("wrote", "") ? 2 : broke;
  }
  for (int i = 0; role && i < 100 * ROUNDS && !is_there("wrote"); i++) {
    if (rename("bare.git", "b2")) continue;
    if (mkdir("bare.git", 0755) == 0 && ++swaps == SWAPS) put("swapped-often", "");
    rmdir("bare.git");
    if (rename("b2", "bare.git")) return 2;
  }
  return swaps < SWAPS ? 2 : 0;
}

/* A moved folder takes its content along. */
static int git_folders_by_move(void) {
  static const char *const evil = "[core]\nfsmonitor = evil\n";
  mkdir("fm", 0755);
  mkdir("fm/m", 0755);
  mkdir("fw", 0755);
  mkdir(".git/objects/eo", 0755);
  if (put("fm/m/config", evil) || put("fw/x", "x") || put(".git/objects/eo/config", evil)) return 2;
  return rename(".git/modules/m", ".git/modules/old") == 0 || rename("fm/m", ".git/modules/k") == 0 ||
         rename(".git/modules", ".git/modules2") == 0 || rename(".git/worktrees/w", ".git/worktrees/o") == 0 ||
         rename("fw", ".git/worktrees/n") == 0 || rename(".git/objects/eo", ".git/modules/e") == 0 ||
         rename(".git/modules/m", "m-out") == 0 || rename("fm/m", "bare.git/modules") == 0;
}

static int nested_in_objects(void) {
  const char *own = is_there("sub/.git") ? "sub" : "sub2";
  mkdir(".git/objects/n", 0755);
  return mkdir(".git/objects/n/.git", 0755) == 0 || put(".git/objects/n/.git", "gitdir: evil") == 0 ||
         (rename(own, ".git/objects/s") == 0 && writes(".git/objects/s/.git/config"));
}

/* A folder with HEAD and `commondir` takes its configuration from another one. */
static int linked_repository(void) {
  mkdir("lr", 0755);
  mkdir("ls", 0755);
  mkdir("lt", 0755);
  if (put("lr/HEAD", "ref: refs/heads/main\n") || put("ls/commondir", "../fake\n") || put("lt/one", "../fake\n")) return 2;
  put("lt/HEAD", "ref: refs/heads/main\n");
  return put("lr/commondir", "../fake\n") == 0 || put("ls/HEAD", "ref: refs/heads/main\n") == 0 ||
         rename("lt/one", "lt/commondir") == 0 || link("lt/one", "lt/commondir") == 0;
}

/* A repository in a folder whose paths cannot be looked up: no permissions above it. */
static int repositories_out_of_sight(void) {
  int up, broke;
  if (mkdir("os", 0755) || mkdir("os/f", 0755) || mkdir("os/f/objects", 0755) || mkdir("os/f/refs", 0755)) return 2;
  if (rename("bare.git", "os/bare.git") || (up = open("os", O_RDONLY | O_DIRECTORY)) < 0) return 2;
  int made = open("os/f", O_PATH | O_DIRECTORY), bare = open("os/bare.git", O_PATH | O_DIRECTORY);
  if (fchmod(up, 0)) return 2;
  broke = writes_at(made, "HEAD", O_WRONLY | O_CREAT) || writes_at(bare, "config", O_WRONLY | O_APPEND) ||
          writes_at(bare, "hooks/pre-push", O_WRONLY | O_CREAT) || renameat(bare, "hooks", bare, "h2") == 0;
  return fchmod(up, 0755) || rename("os/bare.git", "bare.git") ? 2 : broke;
}

/* Enters folders of long names below the current one until its path has `bytes` bytes. */
static int enter_depth(size_t bytes) {
  char name[256], path[8192];
  for (;;) {
    if (!getcwd(path, sizeof path)) return -1;
    size_t missing = bytes - strlen(path);
    if (!missing) return 0;
    size_t length = missing > 201 ? (missing < 210 ? 100 : 200) : missing - 1;
    memset(name, 'd', length);
    name[length] = 0;
    if ((mkdir(name, 0755) && errno != EEXIST) || chdir(name)) return -1;
  }
}

/* The path of HEAD has less than PATH_MAX bytes, the path of objects more. */
static int repository_of_long_path(void) {
  int base = open(".", O_PATH | O_DIRECTORY);
  if (base < 0 || mkdir("lp", 0755) || mkdir("lp/objects", 0755) || mkdir("lp/refs", 0755)) return 2;
  if (mkdir("deep-path", 0755) || chdir("deep-path") || enter_depth(4086)) return 2;
  if (renameat(base, "lp", AT_FDCWD, "lp") || chdir("lp")) return 2;
  int broke = put("HEAD", "ref: refs/heads/main\n") == 0;
  return chdir("..") || renameat(AT_FDCWD, "lp", base, "lp") ? 2 : broke;
}

/* Git asks whether it may search `refs`, not what it is. */
static int repository_by_socket(void) {
  struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "rs/refs"};
  if (mkdir("rs", 0755) || mkdir("rs/objects", 0755) || put("rs/HEAD", "ref: refs/heads/main\n")) return 2;
  return bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof to) == 0;
}

/* `unmade/hooks` and `led/hooks` are folders of core.hooksPath: the first is missing, `led` is a link. */
static int hooks_by_link(void) {
  if (mkdir("hl", 0755) || mkdir("hl/hooks", 0755) || put("hl/hooks/pre-commit", "evil") || symlink("hl", "hl-link")) return 2;
  return symlink("hl", "unmade") == 0 || link("hl-link", "unmade") == 0 || rename("hl-link", "unmade") == 0 ||
         (unlink("led") == 0 && (symlink("hl", "led") == 0 || (mkdir("led", 0755) == 0 && mkdir("led/hooks", 0755) == 0)));
}

/* ---- secrets ---- */

/* The test replaces the file by a rename from outside, while a descriptor of the replaced one is held. */
static int secret_removed(void) {
  char name[64];
  int fd = open("certs/server.pem", O_PATH | O_CLOEXEC);
  if (fd < 0 || put("holds", "")) return 2;
  for (int i = 0; i < ROUNDS && !is_there("replaced"); i++) usleep(10000);
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  return is_there("replaced") ? reads(name) : 2;
}

/* Another wall renames another folder to `lifted` meanwhile. */
static int lifted_by_other_wall(void) {
  if (!reads("lifted/server.pem") && open("lifted/server.pem", O_RDONLY) < 0) return 2;
  if (put("waits", "")) return 2;
  for (int i = 0; i < ROUNDS && !is_there("swapped"); i++) usleep(10000);
  return is_there("swapped") ? reads("lifted/server.pem") : 2;
}

static int secrets_by_move(void) {
  mkdir("node_modules", 0755);
  mkdir("fixtures", 0755);
  return (rename("late", "node_modules/late") == 0 && reads("node_modules/late/.env.production")) ||
         (rename("certs", "fixtures/certs") == 0 && reads("fixtures/certs/server.pem")) ||
         (rename("certs", "tests") == 0 && reads("tests/server.pem"));
}

/* The test permits to read `lifted/server.pem`, which is no secret; `other` has one of the same name. */
static int lifted_by_move(void) {
  int fd = open("lifted/server.pem", O_RDONLY);
  if (fd < 0) return 2;
  close(fd);
  if (syscall(SYS_renameat2, AT_FDCWD, "other", AT_FDCWD, "lifted", RENAME_EXCHANGE) == 0) return reads("lifted/server.pem");
  if (rename("lifted", "l2") == 0 && rename("other", "lifted") == 0) return reads("lifted/server.pem");
  /* Folders that have nothing to do with it move as before. */
  return mkdir("up", 0755) || rename("certs", "up/certs") || rename("up/certs", "certs") ? 2 : 0;
}

static int secrets(void) {
  static const char *const paths[] = {".env", ".env.local", "sub/.env", "id_rsa", "sub/server.key", "certs/server.pem",
                                      ".ENV", "./sub/../.env", "/proc/self/cwd/.env", "env-link", "env-name", "sub/../.Env", NULL};
  return any(paths, reads);
}

static int secret_by_copy(void) {
  symlink(".env", "e1");
  int fd = open(".env", O_PATH), to = open("copy", O_RDWR | O_CREAT, 0644);
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  return reads("e1") || reads(name) || has_secret(openat(fd, "", O_RDONLY)) ||
         link(".env", "e2") == 0 || rename(".env", "e3") == 0 || ioctl(to, FICLONE, fd) == 0 ||
         sendfile(to, fd, NULL, 100) > 0 || copy_file_range(fd, NULL, to, NULL, 100, 0) > 0 ||
         mmap(NULL, 10, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED;
}

/* The test replaces the file by a rename from outside, again and again. */
static int secret_replaced(void) {
  struct timespec pause = {0, 1000000};
  for (int i = 0; i < ROUNDS && (i < 200 || !is_there("done")); i++) {
    if (reads(".env") || reads("late/.env.production")) return 1;
    nanosleep(&pause, NULL);
  }
  return 0;
}

static int home(void) {
  char path[512];
  static const char *const names[] = {".ssh/id_ed25519", ".aws/credentials", "notes.txt", ".bashrc", NULL};
  int broke = 0;
  for (const char *const *name = names; *name; name++) {
    snprintf(path, sizeof path, "%s/%s", getenv("HOME"), *name);
    broke |= reads(path);
    snprintf(path, sizeof path, "/proc/self/root%s/%s", getenv("HOME"), *name);
    broke |= reads(path);
    snprintf(path, sizeof path, "/proc/1/root%s/%s", getenv("HOME"), *name);
    broke |= reads(path);
    snprintf(path, sizeof path, "../../../../../..%s/%s", getenv("HOME"), *name);
    broke |= reads(path);
  }
  return broke;
}

static int state(void) {
  char path[512];
  snprintf(path, sizeof path, "%s/audit.db", getenv("STATE_PATH"));
  int fd = open(path, O_RDONLY);
  snprintf(path, sizeof path, "%s-warden/keys/checkpoint.key", getenv("STATE_PATH"));
  return fd >= 0 || open(path, O_RDONLY) >= 0 || writes(path);
}

/* ---- process 1, namespaces, filters ---- */

static int first_process(void) {
  char byte;
  struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
  struct rlimit none = {0, 0};
  struct sched_param least = {0};
  cpu_set_t one;
  int pidfd = (int)syscall(SYS_pidfd_open, 1, 0);
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  /* Process 1 sums the memory of the wall, which it cannot while others run before it. */
  if (sched_setscheduler(1, SCHED_IDLE, &least) == 0 || sched_setaffinity(1, sizeof one, &one) == 0 ||
      setpriority(PRIO_PROCESS, 1, 19) == 0 || setpriority(PRIO_PGRP, 0, 19) == 0 || setpriority(PRIO_USER, 0, 19) == 0 ||
      syscall(SYS_ioprio_set, 1, 1, 3 << 13) == 0 || syscall(SYS_ioprio_set, 3, 0, 3 << 13) == 0)
    return 1;
  kill(1, SIGKILL);
  kill(1, SIGSTOP);
  kill(1, SIGTERM);
  return ptrace(PTRACE_ATTACH, 1, NULL, NULL) == 0 || ptrace(PTRACE_SEIZE, 1, NULL, NULL) == 0 ||
         process_vm_readv(1, &here, 1, &there, 1, 0) > 0 || open("/proc/1/mem", O_RDONLY) >= 0 ||
         open("/proc/1/environ", O_RDONLY) >= 0 || open("/proc/1/maps", O_RDONLY) >= 0 || open("/proc/1/fd/0", O_RDONLY) >= 0 ||
         open("/proc/1/cwd/.git/config", O_WRONLY) >= 0 || open("/proc/1/root/etc/passwd", O_RDONLY) >= 0 ||
         syscall(SYS_pidfd_getfd, pidfd, 0, 0) >= 0 || (prlimit(1, RLIMIT_NOFILE, &none, NULL) == 0 && 0);
}

/* A descriptor with O_PATH is judged by nobody; what it leads to must be. */
static int opens_by_bare(const char *path) {
  char name[64];
  int bare = open(path, O_PATH);
  snprintf(name, sizeof name, "/proc/self/fd/%d", bare);
  return bare >= 0 && (open(name, O_RDONLY) >= 0 || openat(bare, "0", O_RDONLY) >= 0);
}

static int links_to_first_process(void) {
  symlink("/proc/self", "/tmp/self");
  int broke = open("/tmp/self/../1/environ", O_RDONLY) >= 0 || open("/tmp/self/task/1/mem", O_RDWR) >= 0;
  int mem = open("/tmp/self/mem", O_RDWR), maps = open("/tmp/self/maps", O_RDONLY);
  char text[4096] = "";
  static const char *const private[] = {"/proc/1/maps", "/proc/1/environ", "/proc/1/auxv", "/proc/1/mountinfo", "/proc/1/fd",
                                        "/proc/1/task/1/maps", NULL};
  broke |= any(private, opens_by_bare);
  /* What it shows must be this process. */
  if (maps >= 0 && read(maps, text, sizeof text - 1) > 0 && !strstr(text, "attacks")) broke = 1;
  return broke || mem >= 0;
}

static int namespaces(void) {
  return unshare(CLONE_NEWUSER) == 0 || unshare(CLONE_NEWNS) == 0 ||
         syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL) > 0 || mount("none", "/tmp", "tmpfs", 0, NULL) == 0 ||
         mount(".", "sub", NULL, MS_BIND, NULL) == 0 || chroot(".") == 0 || syscall(SYS_pivot_root, ".", ".") == 0 ||
         umount2("/proc", MNT_DETACH) == 0 || setns(open("/proc/self/ns/user", O_RDONLY), 0) == 0 ||
         syscall(SYS_fsopen, "tmpfs", 0) >= 0 || syscall(SYS_open_tree, AT_FDCWD, ".", 1) >= 0 ||
         syscall(SYS_move_mount, AT_FDCWD, ".", AT_FDCWD, "sub", 0) == 0;
}

static int own_filter(void) {
  struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {1, code};
  int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
  return listener >= 0 || writes(".bashrc");
}

static int other_doors(void) {
  struct io_uring_params ring = {0};
  union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
  struct perf_event_attr clock = {
      .type = PERF_TYPE_SOFTWARE, .size = sizeof clock, .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1};
  return syscall(SYS_io_uring_setup, 4, &ring) >= 0 || syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map) >= 0 ||
         syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1) >= 0 ||
         syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY) >= 0 || syscall(SYS_perf_event_open, &clock, 0, -1, -1, 0) >= 0 ||
         syscall(SYS_add_key, "user", "a", "b", 1, KEY_SPEC_PROCESS_KEYRING) >= 0;
}

static int settings_of_the_machine(void) {
  char text[16];
  return writes("/proc/sys/kernel/core_pattern") || writes("/proc/sys/kernel/hostname") || writes("/proc/sysrq-trigger") ||
         writes("/etc/passwd") || writes("/usr/bin/true") || read(open("/etc/shadow", O_RDONLY), text, sizeof text) > 0 ||
         mount("cgroup", "/tmp", "cgroup2", 0, NULL) == 0 || is_there("/sys/kernel");
}

static int inherited(void) {
  int broke = 0;
  for (int fd = 3; fd < 1024; fd++) broke |= fcntl(fd, F_GETFD) >= 0;
  return broke;
}

/* ---- sockets ---- */

static int connects_to(const char *path, int type) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, type, 0);
  snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
  int ok = fd >= 0 && (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ||
                       sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  if (fd >= 0) close(fd);
  return ok;
}

static int sockets(void) {
  int pair[2] = {-1, -1};
  /* The kernel makes a datagram socket of SOCK_RAW. */
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) socketpair(AF_UNIX, SOCK_RAW, 0, pair);
  symlink("../../../../../../../../../proc/self/cwd/agent.sock", "/tmp/agent");
  symlink("agent.sock", "as");
  return connects_to("agent.sock", SOCK_STREAM) || connects_to("as", SOCK_STREAM) || connects_to("/tmp/agent", SOCK_STREAM) ||
         connects_to("/proc/self/cwd/agent.sock", SOCK_STREAM) || connects_to("agent.sock", SOCK_SEQPACKET) ||
         connects_to("datagram.sock", SOCK_DGRAM) || socket(AF_UNIX, SOCK_RAW, 0) >= 0 || pair[0] >= 0 || connects_to("/run/docker.sock", SOCK_STREAM) ||
         connects_to("/var/run/docker.sock", SOCK_STREAM);
}

static int system_socket(void) {
  return is_there(getenv("SYSTEM_SOCKET")) ? connects_to(getenv("SYSTEM_SOCKET"), SOCK_STREAM) : 2;
}

static void *flip_address(void *arg) {
  struct sockaddr_un *to = arg;
  for (;;) {
    strcpy(to->sun_path, "/tmp/own.sock");
    strcpy(to->sun_path, "agent.sock");
  }
  return arg;
}

static int socket_race(void) {
  static struct sockaddr_un to = {.sun_family = AF_UNIX}, own = {.sun_family = AF_UNIX, .sun_path = "/tmp/own.sock"};
  pthread_t other;
  int server = socket(AF_UNIX, SOCK_STREAM, 0), broke = 0;
  if (bind(server, (struct sockaddr *)&own, sizeof own) || listen(server, 4096)) return 2;
  pthread_create(&other, NULL, flip_address, &to);
  for (int i = 0; i < ROUNDS / 3; i++) {
    struct sockaddr_un peer = {0};
    socklen_t size = sizeof peer;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
      broke |= strstr(peer.sun_path, "own.sock") == NULL;
    close(fd);
  }
  return broke;
}

static int abstract_socket(void) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const char *name = getenv("ABSTRACT_NAME");
  memcpy(to.sun_path + 1, name, strlen(name));
  return connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))) == 0;
}

static int network(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(getenv("HOST_PORT")))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0), raw = socket(AF_INET, SOCK_RAW, 1), packet = socket(AF_PACKET, SOCK_RAW, 0);
  int joined = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
  int other = socket(AF_INET, SOCK_STREAM, 0);
  inet_pton(AF_INET, "1.1.1.1", &to.sin_addr);
  return joined || raw >= 0 || packet >= 0 || connect(other, (struct sockaddr *)&to, sizeof to) == 0 ||
         sendto(other, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof to) == 1 || socket(AF_VSOCK, SOCK_STREAM, 0) >= 0;
}

/* ---- terminals ---- */

static int terminal(void) {
  char key = 'x';
  int tty = open("/dev/tty", O_RDWR), broke = 0;
  for (int fd = 0; fd < 3; fd++) broke |= ioctl(fd, TIOCSTI, &key) == 0 || ioctl(fd, TIOCLINUX, &key) == 0;
  if (tty >= 0) broke |= ioctl(tty, TIOCSTI, &key) == 0;
  return broke || ioctl(0, TIOCSCTTY, 1) == 0 || ioctl(0, TIOCSETD, &(int){0}) == 0;
}

/* ---- bounds ---- */

static int processes(void) {
  int count = 0;
  signal(SIGTERM, SIG_IGN);
  for (; count < 4000; count++) {
    pid_t pid = fork();
    if (pid == 0) {
      signal(SIGTERM, SIG_DFL);
      pause();
      _exit(0);
    }
    if (pid < 0) break;
  }
  kill(0, SIGTERM);
  return count > 1100;
}

static int signals_outside(void) {
  signal(SIGUSR1, SIG_IGN);
  return kill(atoi(getenv("HOST_PID")), SIGUSR1) == 0;
}

/* Mercurial and Jujutsu themselves work: locks, journals, stores. */
static int others_go_on(void) {
  return put(".hg/store/data.i", "x") || put(".hg/dirstate.new", "x") || rename(".hg/dirstate.new", ".hg/dirstate") ||
         symlink("host:1", ".hg/wlock") || unlink(".hg/wlock") || mkdir(".jj/repo/store", 0755) ||
         put(".jj/repo/store/config", "x") || put("config.toml", "x") || put("repo", "x");
}

static int own_programs(void) {
  const char *programs = getenv("PROGRAM_PATH");
  char moved[512];
  snprintf(moved, sizeof moved, "%s.old", programs);
  return writes(programs) || rename(programs, moved) == 0 || unlink(programs) == 0;
}

static int denied(void) {
  return reads("closed/secret") || writes("closed/new") || rename("closed", "open") == 0 || rename("closed/secret", "s") == 0 ||
         rename("above", "above2") == 0 || writes("above/below/x") || (mkdir("later", 0755) == 0 && writes("later/closed/x")) ||
         mkdir("later/closed", 0755) == 0;
}

static const struct {
  const char *name;
  int (*attack)(void);
} attacks[] = {
#define A(name) {#name, name}
    A(direct), A(folders), A(spellings), A(detours), A(symbolic_links), A(hard_links), A(link_unnamed), A(moves_away),
    A(moves_in), A(exchanges), A(removes), A(by_descriptor_of_folder), A(reopens), A(metadata), A(set_ids), A(locks_of_others), A(own_locks), A(streams), A(own_streams),
    A(unread_keys), A(created_race), A(nodes), A(other_calls),
    A(git_redirects), A(git_goes_on), A(bare_repository), A(bare_repository_race), A(packages), A(text_race), A(link_race),
    A(move_race), A(descriptor_race), A(two_walls),
    A(two_walls_swap), A(git_folders_by_move), A(nested_in_objects), A(linked_repository), A(repositories_out_of_sight),
    A(repository_of_long_path), A(repository_by_socket), A(hooks_by_link), A(secret_removed), A(lifted_by_other_wall),
    A(system_socket), A(secrets), A(secrets_by_move),
    A(lifted_by_move), A(secret_by_copy), A(secret_replaced), A(home), A(state),
    A(first_process), A(links_to_first_process), A(namespaces), A(own_filter), A(other_doors), A(settings_of_the_machine),
    A(inherited), A(sockets), A(socket_race), A(abstract_socket), A(network), A(terminal), A(processes), A(signals_outside),
    A(own_programs), A(denied), A(other_repositories), A(others_go_on)};

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    int found = 2;
    for (size_t k = 0; k < sizeof attacks / sizeof *attacks; k++) {
      if (strcmp(argv[i], attacks[k].name)) continue;
      /* In a process of its own: threads and handlers of one are nothing to the next. */
      pid_t pid = fork();
      if (pid == 0) {
        setpgid(0, 0);
        exit(attacks[k].attack());
      }
      int status;
      waitpid(pid, &status, 0);
      found = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    printf("%s %d\n", argv[i], found);
    fflush(stdout);
  }
  return 0;
}

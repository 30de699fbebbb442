/*
 * Files that the command leaves in memory where the caller has folders of the same name.
 *
 * Problem. Folders above the command's and HOME are there in memory only, so that programs find them: a file written to "../out" or
 * "~/out" is gone with the command, which ended well.
 *
 * Mechanism. At the end of the command its entries in HOME and in the folders above its own are listed, without those that lead to a
 * mount, and without hidden folders of HOME: caches, which are made again. Temporary folders hold what programs leave there; of them only
 * entries that a relative path named from within a bind are listed.
 *
 * Bounded by UNKEPT_MAX reports, and ENTRIES_MAX entries of each folder.
 *
 * Not handled: a command that ends by the time or memory limit, which is told as such.
 */
#define _GNU_SOURCE
#include "unkept.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "judge.h"
#include "reports.h"

enum { UNKEPT_MAX = 8, ENTRIES_MAX = 10000 };

static char unkept[UNKEPT_MAX][PATH_BYTES];
static int unkept_count;

static void add(const char *path) {
  for (int i = 0; i < unkept_count; i++)
    if (!strcmp(unkept[i], path)) return;
  if (unkept_count < UNKEPT_MAX && strlen(path) < PATH_BYTES) strcpy(unkept[unkept_count++], path);
}

void note_relative(int base, const struct target *target) {
  static char from[PATH_BYTES];
  if (bind_of(target->path) || canonical_path(base, from, sizeof from) || !bind_of(from)) return;
  if (!strncmp(target->path, "/proc/", 6) || !strncmp(target->path, "/dev/", 5)) return;
  add(target->path);
}

static int is_temporary(const char *folder) {
  static const char *const list[] = {"/tmp", "/var/tmp", "/run", "/dev/shm"};
  for (size_t i = 0; i < sizeof list / sizeof *list; i++)
    if (!strcmp(folder, list[i])) return 1;
  return 0;
}

static const char *home_folder(void) {
  for (char **one = options.variables; *one; one++)
    if (!strncmp(*one, "HOME=/", 6)) return *one + 5;
  return "";
}

static int leads_to(const char *path, const char *to) {
  size_t length = strlen(path);
  return !strncmp(to, path, length) && (to[length] == '/' || to[length] == 0);
}

static int leads_to_mount(const char *path) {
  for (int i = 0; i < options.bind_count; i++)
    if (leads_to(path, options.binds[i].path)) return 1;
  return leads_to(path, home_folder());
}

/* Hidden folders are caches, but for the one to which programs are installed. */
static int is_cache(int folder, const char *name) {
  struct stat facts;
  if (name[0] != '.' || !strcmp(name, ".local")) return 0;
  return fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(facts.st_mode);
}

static void list_entries(const char *folder, int is_home) {
  static char path[PATH_BYTES];
  struct stat facts;
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *list = fd >= 0 && fstat(fd, &facts) == 0 && !is_host_file(&facts) ? fdopendir(fd) : NULL;
  const struct dirent *entry;
  for (int count = 0; list && count < ENTRIES_MAX && (entry = readdir(list)); count++) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..") || (is_home && is_cache(fd, name))) continue;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && !leads_to_mount(path)) add(path);
  }
  if (list) closedir(list);
  else if (fd >= 0) close(fd);
}

void report_unkept(void) {
  static char folder[PATH_BYTES];
  struct stat facts;
  const char *home = home_folder();
  snprintf(folder, sizeof folder, "%s", options.folder);
  for (char *slash; (slash = strrchr(folder, '/')) && slash > folder;) {
    *slash = 0;
    if (!is_temporary(folder)) list_entries(folder, !strcmp(folder, home));
  }
  if (*home && !is_temporary(home) && !bind_of(home)) list_entries(home, 1);
  for (int i = 0; i < unkept_count; i++)
    if (lstat(unkept[i], &facts) == 0) report_path("unkept", unkept[i]);
}

/*
 * Problem: a schedule names programs as a user would call them, and the kernel reports the file that is executed.
 *
 * Mechanism: a name is a path, or the last part of one; `*` matches any text. Links are followed once, when the rule is added, which is
 * before the job can make any: a path, a name in a folder of commands, and each command that a name with `*` matches there. What they
 * lead to is one more name of the rule. All names are in a pool of fixed size.
 *
 * Not handled: links in other folders that only a name with `*` matches; a copy of a program under another name.
 */
#define _GNU_SOURCE
#include "zone-rules.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "wire.h"

enum { POOL_BYTES = 65536, FILE_BYTES_MAX = PATH_BYTES_MAX + NAME_BYTES_MAX + 2 };
#define DELETED " (deleted)"

struct entry64 {
  uint64_t inode;
  int64_t next;
  unsigned short length;
  unsigned char type;
  char name[];
};

static const char *const folders[] = {"/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"};

/* Names as texts that end with NUL, rule by rule; `ends` has the offset after the last name of each rule. */
static char pool[POOL_BYTES];
static size_t ends[ZONE_RULES_MAX];
static int rules;

int count_rules(void) { return rules; }

/* ---- names ---- */

/* Compares a name of `length` bytes. Each part between two stars matches at its first occurrence: linear in the number of stars. */
static int matches(const char *pattern, const char *text, size_t length) {
  const char *star = strchr(pattern, '*'), *end = text + length;
  if (!star) return strlen(pattern) == length && !memcmp(pattern, text, length);
  size_t first = (size_t)(star - pattern);
  if (length < first || memcmp(pattern, text, first)) return 0;
  text += first;
  for (const char *part = star + 1;; part = star + 1) {
    star = strchr(part, '*');
    size_t bytes = star ? (size_t)(star - part) : strlen(part);
    if (!star) return (size_t)(end - text) >= bytes && !memcmp(end - bytes, part, bytes);
    const char *found = bytes ? memmem(text, (size_t)(end - text), part, bytes) : text;
    if (!found) return 0;
    text = found + bytes;
  }
}

static int is_named(const char *pattern, const char *path, size_t length) {
  if (pattern[0] == '/') return matches(pattern, path, length);
  const char *slash = memrchr(path, '/', length);
  const char *name = slash ? slash + 1 : path;
  return matches(pattern, name, length - (size_t)(name - path));
}

static size_t start_of(int rule) { return rule ? ends[rule - 1] : 0; }

static int names(int rule, const char *path, size_t length) {
  for (size_t at = start_of(rule); at < ends[rule]; at += strlen(pool + at) + 1)
    if (is_named(pool + at, path, length)) return 1;
  return 0;
}

int rule_of(const char *path) {
  size_t length = strlen(path), suffix = sizeof DELETED - 1;
  /* The kernel adds it to the path of an unlinked file. */
  if (length > suffix && !strcmp(path + length - suffix, DELETED)) length -= suffix;
  for (int rule = 0; rule < rules; rule++)
    if (names(rule, path, length)) return rule;
  return -1;
}

/* ---- rules ---- */

/* Adds a name to the last rule. */
static int add_name(const char *name) {
  size_t bytes = strlen(name) + 1, *end = &ends[rules];
  if (bytes > POOL_BYTES - *end) return E2BIG;
  memcpy(pool + *end, name, bytes);
  *end += bytes;
  return 0;
}

/* Adds the file that a path leads to, unless the last rule names it already. */
static int add_file(const char *path) {
  char link[32], file[PATH_BYTES_MAX + 1];
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, file, sizeof file - 1);
  close(fd);
  if (n <= 0 || (size_t)n == sizeof file - 1) return EIO;
  file[n] = 0;
  return names(rules, file, (size_t)n) ? 0 : add_name(file);
}

/* Adds the files of the commands in a folder that a name with `*` matches. */
static int add_matches(const char *folder, const char *pattern) {
  static _Alignas(struct entry64) char bytes[8192];
  static char path[FILE_BYTES_MAX];
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
  if (fd < 0) return 0;
  for (long have; !error && (have = syscall(SYS_getdents64, fd, bytes, sizeof bytes)) > 0;)
    for (long at = 0; at < have && !error;) {
      const struct entry64 *entry = (const struct entry64 *)(bytes + at);
      at += entry->length;
      int length = snprintf(path, sizeof path, "%s/%s", folder, entry->name);
      if (entry->name[0] != '.' && is_named(pattern, path, (size_t)length)) error = add_file(path);
    }
  close(fd);
  return error;
}

static int add_links(const char *name) {
  static char path[FILE_BYTES_MAX];
  int error = 0, has_star = strchr(name, '*') != NULL;
  if (name[0] == '/' && !has_star) return add_file(name);
  for (size_t i = 0; i < sizeof folders / sizeof *folders && !error; i++) {
    if (has_star) error = add_matches(folders[i], name);
    else if (snprintf(path, sizeof path, "%s/%s", folders[i], name) < (int)sizeof path) error = add_file(path);
  }
  return error;
}

int add_rule(char *const *given, size_t count) {
  int error = 0;
  if (rules == ZONE_RULES_MAX) return E2BIG;
  ends[rules] = start_of(rules);
  for (size_t i = 0; i < count && !error; i++) error = add_name(given[i]);
  for (size_t i = 0; i < count && !error; i++) error = add_links(given[i]);
  if (!error) rules++;
  return error;
}

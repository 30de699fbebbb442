/*
 * Which paths a call may touch: by each name below the folder that is shown, in whichever case, existing or not.
 *
 * Problem. Git, shells, editors and agents run what lies under certain names. A wall that may write beside them can try to
 * get there by a move of a folder above, by a link, by another spelling, or by making what is not there yet.
 *
 * Mechanism. A path is judged by its own last names and never by a list of files, so that no file under a protected name
 * comes to lie under another one, or the other way round: neither is moved or linked, nor is a folder to or from a name on
 * which a rule depends. So what was judged stays right whatever else is moved, in this wall or in one beside it.
 * - A name may be written in another case, with letters that fold to ASCII, with characters that some file systems ignore,
 *   or with the dots and colons of NTFS: it is folded before it is compared.
 * - Below folders of packages some rules are left out, since packages bring such files along and nothing reads them there.
 *   A move of a folder or a link out of those gets EXDEV, and mv(1) copies, name by name.
 * - A folder with HEAD, objects and refs is a repository to git, whatever it is called: none becomes one, and in one the
 *   names of `.git` are protected.
 *
 * Not handled: names that a file had before the wall was there, beyond those in the first level (find_other_names).
 */
#define _GNU_SOURCE
#include "judge.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../launcher/steps.h"

enum { PARTS_MAX = 256, OTHERS_MAX = 64 };

/* `UNWRITABLE`: neither content nor name may change; `UNREADABLE` implies it. The others say where a rule is left out. */
enum { UNWRITABLE = 1, UNREADABLE = 2, NOT_IN_PACKAGES = 4, NOT_IN_TESTS = 8, EXCEPTION = 16 };

static struct rule {
  int flags;
  const char *pattern;
  size_t length;
  /* Place of its star; -1 without one. */
  int star;
} rules[RULES_MAX];
static int rule_count;

static struct denied {
  int rights;
  const char *path;
  size_t length;
} denied[RULES_MAX];
static int denied_count;

static const char *lifted[RULES_MAX];
static int lifted_count;

static struct {
  dev_t dev;
  ino_t ino;
  int rights;
} others[OTHERS_MAX];
static int other_count;

static const char *const package_folders[] = {"node_modules", "site-packages", "dist-packages"};
static const char *const test_folders[] = {"test", "tests", "__tests__", "testdata", "fixtures", "__fixtures__", "spec",
                                           "examples"};
/* Names by which git reads its configuration, or finds it somewhere else. */
static const char *const git_names[] = {"config", "config.worktree", "commondir", "gitdir", "hooks"};
static const char *const repository_names[] = {"head", "objects", "refs"};
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* FLAGS:PATTERN, a folded name with at most one star. */
void add_rule(const char *text) {
  errno = E2BIG;
  must(rule_count < RULES_MAX, "rule");
  struct rule *one = &rules[rule_count++];
  for (; *text && *text != ':'; text++) {
    if (*text == 'w') one->flags |= UNWRITABLE;
    else if (*text == 'r') one->flags |= UNREADABLE | UNWRITABLE;
    else if (*text == 'p') one->flags |= NOT_IN_PACKAGES;
    else if (*text == 't') one->flags |= NOT_IN_TESTS;
    else if (*text == 'x') one->flags |= EXCEPTION;
  }
  errno = EINVAL;
  must(*text == ':' && text[1], "rule");
  one->pattern = text + 1;
  one->length = strlen(one->pattern);
  const char *star = strchr(one->pattern, '*');
  one->star = star ? (int)(star - one->pattern) : -1;
}

/* RIGHTS:PATH, a canonical path that is closed with all below it. */
void add_denied(const char *text) {
  errno = E2BIG;
  must(denied_count < RULES_MAX, "deny");
  struct denied *one = &denied[denied_count++];
  one->rights = *text == 'w' ? WRITING | NAMING : READING | WRITING | NAMING;
  one->path = strchr(text, ':') + 1;
  one->length = strlen(one->path);
}

/* A canonical path that may be read although its name is that of a secret. */
void add_lifted(const char *text) {
  errno = E2BIG;
  must(lifted_count < RULES_MAX, "lift");
  lifted[lifted_count++] = text;
}

static int is_below(const char *path, const char *folder, size_t length) {
  if (length == 1) return *path == '/';
  return !strncmp(path, folder, length) && (path[length] == 0 || path[length] == '/');
}

const struct bind *bind_of(const char *path) {
  const struct bind *found = NULL;
  for (int i = 0; i < asked.bind_count; i++)
    if (is_below(path, asked.binds[i].path, asked.binds[i].length) && (!found || asked.binds[i].length > found->length))
      found = &asked.binds[i];
  return found;
}

/* ---- folded names ---- */

/* Bytes of a character that file systems with folding leave out of a comparison (as in git's own list); 0 if none. */
static size_t ignored(const unsigned char *at) {
  if (at[0] == 0xc2 && at[1] == 0xad) return 2;
  if (at[0] == 0xef && at[1] == 0xbb && at[2] == 0xbf) return 3;
  if (at[0] == 0xef && at[1] == 0xb8 && at[2] >= 0x80 && at[2] <= 0x8f) return 3;
  if (at[0] != 0xe2) return 0;
  if (at[1] == 0x80 && ((at[2] >= 0x8b && at[2] <= 0x8f) || (at[2] >= 0xaa && at[2] <= 0xae))) return 3;
  return at[1] == 0x81 && at[2] >= 0xa0 && at[2] <= 0xaf ? 3 : 0;
}

static void fold(const char *name, size_t length, char *to) {
  const unsigned char *at = (const unsigned char *)name, *end = at + length;
  size_t have = 0;
  while (at < end && have < NAME_BYTES - 1) {
    size_t skipped = ignored(at);
    if (skipped) at += skipped;
    /* U+017F folds to s, U+212A to k. */
    else if (at[0] == 0xc5 && at[1] == 0xbf) to[have++] = 's', at += 2;
    else if (at[0] == 0xe2 && at[1] == 0x84 && at[2] == 0xaa) to[have++] = 'k', at += 3;
    /* NTFS: a stream of the file before the colon. */
    else if (*at == ':' && have > 0) break;
    else to[have++] = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at), at++;
  }
  while (have > 0 && (to[have - 1] == '.' || to[have - 1] == ' ')) have--;
  to[have] = 0;
  if (!strcmp(to, "git~1")) strcpy(to, ".git");
}

/* Offset at which the judged names begin. The folder of a repository that is shown alone counts as one of them. */
static size_t below_of(const struct bind *bind) {
  static const char git[] = "/.git";
  size_t length = bind->length, tail = sizeof git - 1;
  if (length > tail && !strcmp(bind->path + length - tail, git)) return length - tail;
  return length == 1 ? 0 : length;
}

struct parts {
  int count;
  char name[PARTS_MAX][NAME_BYTES];
};

/* Folded names of a path below its bind; 0 where it has more than can be judged. */
static int take_apart(const char *path, const struct bind *bind, struct parts *parts) {
  parts->count = 0;
  const char *at = path + below_of(bind);
  for (at += strspn(at, "/"); *at; at += strspn(at, "/")) {
    size_t length = strcspn(at, "/");
    if (parts->count == PARTS_MAX || length >= NAME_BYTES) return 0;
    fold(at, length, parts->name[parts->count++]);
    at += length;
  }
  return 1;
}

static int is_one_of(const char *name, const char *const *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!strcmp(name, list[i])) return 1;
  return 0;
}

static int lies_in(const struct parts *parts, const char *const *folders, size_t count) {
  for (int i = 0; i < parts->count; i++)
    if (is_one_of(parts->name[i], folders, count)) return 1;
  return 0;
}

static int is_in_packages(const struct parts *parts) {
  return lies_in(parts, package_folders, COUNT(package_folders));
}

static int matches(const struct rule *rule, const char *name) {
  if (rule->star < 0) return !strcmp(name, rule->pattern);
  size_t length = strlen(name), before = (size_t)rule->star, after = rule->length - before - 1;
  if (length < before + after || strncmp(name, rule->pattern, before)) return 0;
  return !strcmp(name + length - after, rule->pattern + before + 1);
}

static int is_exception(const char *name) {
  for (int i = 0; i < rule_count; i++)
    if (rules[i].flags & EXCEPTION && matches(&rules[i], name)) return 1;
  return 0;
}

/* ---- rules ---- */

static int refuse(struct refusal *why, const char *rule, const char *name) {
  why->rule = rule;
  why->name = name;
  return EACCES;
}

static int is_lifted(const char *path) {
  for (int i = 0; i < lifted_count; i++)
    if (!strcmp(path, lifted[i])) return 1;
  return 0;
}

static int judge_rule(const struct rule *rule, const char *path, int rights, struct refusal *why) {
  if (rule->flags & UNREADABLE) {
    /* Lifted for reading alone. */
    return is_lifted(path) && !(rights & (WRITING | NAMING)) ? 0 : refuse(why, "secret", rule->pattern);
  }
  return rights & (WRITING | NAMING) ? refuse(why, "protected", rule->pattern) : 0;
}

static int judge_names(const char *path, const struct parts *parts, int rights, struct refusal *why) {
  int in_packages = is_in_packages(parts), in_tests = lies_in(parts, test_folders, COUNT(test_folders));
  for (int i = 0; i < parts->count; i++) {
    for (int k = 0; k < rule_count; k++) {
      const struct rule *rule = &rules[k];
      /* Most names are those of no rule by their first byte. */
      if (rule->star != 0 && *rule->pattern != parts->name[i][0]) continue;
      if (rule->flags & EXCEPTION || !matches(rule, parts->name[i])) continue;
      if (rule->flags & UNREADABLE && is_exception(parts->name[i])) continue;
      if ((rule->flags & NOT_IN_PACKAGES && in_packages) || (rule->flags & NOT_IN_TESTS && in_tests)) continue;
      int failed = judge_rule(rule, path, rights, why);
      if (failed) return failed;
    }
  }
  return 0;
}

/* Branches may be called like files of git's own. */
static int is_of_references(const char *name) {
  static const char *const folders[] = {"refs", "logs", "objects"};
  return is_one_of(name, folders, COUNT(folders));
}

static int judge_git(const struct parts *parts, struct refusal *why) {
  for (int i = 0; i < parts->count; i++) {
    if (strcmp(parts->name[i], ".git")) continue;
    if (i == parts->count - 1) return refuse(why, "protected", ".git");
    if (is_of_references(parts->name[i + 1])) return 0;
    for (int k = i + 1; k < parts->count; k++)
      if (is_one_of(parts->name[k], git_names, COUNT(git_names)))
        return refuse(why, "protected", !strcmp(parts->name[k], "hooks") ? ".git/hooks" : ".git/config");
    return 0;
  }
  return 0;
}

/* Whether a folder has HEAD, objects and refs, by which git knows a repository. */
static int is_repository(const char *folder) {
  static const char *const names[] = {"HEAD", "objects", "refs"};
  for (size_t i = 0; i < COUNT(names); i++) {
    char path[PATH_BYTES + 16];
    struct stat facts;
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    if (fstatat(AT_FDCWD, path, &facts, AT_SYMLINK_NOFOLLOW)) return 0;
  }
  return 1;
}

/* Cuts a path behind its first COUNT names below the bind. */
static void folder_of(const char *path, const struct bind *bind, int count, char *to) {
  size_t have = below_of(bind);
  for (; count > 0; count--) {
    have += strspn(path + have, "/");
    have += strcspn(path + have, "/");
  }
  memcpy(to, path, have);
  to[have] = 0;
}

/* Folders that git takes for a repository, though none is called `.git`. */
static int judge_repositories(const char *path, const struct bind *bind, const struct parts *parts,
                              struct refusal *why) {
  char folder[PATH_BYTES];
  for (int i = 0; i < parts->count; i++) {
    if (!is_one_of(parts->name[i], git_names, COUNT(git_names))) continue;
    folder_of(path, bind, i, folder);
    if (is_repository(folder)) return refuse(why, "protected", "configuration of a repository");
  }
  return 0;
}

static int judge_denied(const char *path, int rights, struct refusal *why) {
  for (int i = 0; i < denied_count; i++)
    if (denied[i].rights & rights && is_below(path, denied[i].path, denied[i].length))
      return refuse(why, "denied", denied[i].path);
  return 0;
}

int judge(const char *path, int rights, struct refusal *why) {
  static struct parts parts;
  int failed = judge_denied(path, rights, why);
  const struct bind *bind = failed ? NULL : bind_of(path);
  if (!bind) return failed;
  if (!take_apart(path, bind, &parts)) return refuse(why, "protected", "a path of too many names");
  failed = judge_names(path, &parts, rights, why);
  if (failed || !(rights & (WRITING | NAMING)) || !bind->is_writable) return failed;
  failed = judge_git(&parts, why);
  return failed ? failed : judge_repositories(path, bind, &parts, why);
}

static int holds_denied(const char *path) {
  for (int i = 0; i < denied_count; i++)
    if (is_below(denied[i].path, path, strlen(path))) return 1;
  return 0;
}

static int is_package_path(const char *path) {
  static struct parts parts;
  const struct bind *bind = bind_of(path);
  return bind && take_apart(path, bind, &parts) && is_in_packages(&parts);
}

int judge_move(const char *from, const char *to, int is_file, struct refusal *why) {
  why->path = from;
  int failed = judge(from, READING | WRITING | NAMING, why);
  if (!failed && holds_denied(from)) failed = refuse(why, "denied", "what lies below");
  if (failed) return failed;
  why->path = to;
  failed = judge(to, READING | WRITING | NAMING, why);
  if (!failed && holds_denied(to)) failed = refuse(why, "denied", "what lies below");
  return failed ? failed : !is_file && is_package_path(from) && !is_package_path(to) ? EXDEV : 0;
}

int judge_link(const char *path, const char *text, struct refusal *why) {
  static struct parts parts;
  static const struct bind all = {.path = "/", .length = 1};
  if (!bind_of(path) || is_package_path(path)) return 0;
  if (!take_apart(text, &all, &parts)) return refuse(why, "protected", "a link of too many names");
  return is_in_packages(&parts) ? refuse(why, "protected", "a link into packages") : 0;
}

int lies_in_repository(const char *path) {
  char folder[PATH_BYTES], name[NAME_BYTES];
  const char *slash = strrchr(path, '/');
  if (!slash || !bind_of(path) || strlen(slash + 1) >= sizeof name) return 0;
  fold(slash + 1, strlen(slash + 1), name);
  if (!is_one_of(name, repository_names, COUNT(repository_names))) return 0;
  memcpy(folder, path, (size_t)(slash - path));
  folder[slash - path] = 0;
  return is_repository(folder);
}

/* ---- other names of protected files ---- */

static void remember(const char *path) {
  struct stat facts;
  struct refusal why;
  if (fstatat(AT_FDCWD, path, &facts, AT_SYMLINK_NOFOLLOW) || !S_ISREG(facts.st_mode) || facts.st_nlink < 2) return;
  int lacks = (judge(path, READING, &why) ? READING : 0) | (judge(path, WRITING, &why) ? WRITING : 0);
  if (!lacks || other_count == OTHERS_MAX) return;
  others[other_count].dev = facts.st_dev;
  others[other_count].ino = facts.st_ino;
  others[other_count++].rights = lacks;
}

static void remember_in(const char *folder) {
  char path[PATH_BYTES];
  DIR *open = opendir(folder);
  if (!open) return;
  for (struct dirent *one; (one = readdir(open));)
    if (snprintf(path, sizeof path, "%s/%s", folder, one->d_name) < (int)sizeof path) remember(path);
  closedir(open);
}

void find_other_names(void) {
  static const char *const folders[] = {"", "/.git", "/.git/hooks"};
  char path[PATH_BYTES];
  for (int i = 0; i < asked.bind_count; i++)
    for (size_t k = 0; k < COUNT(folders) && asked.binds[i].is_writable; k++)
      if (snprintf(path, sizeof path, "%s%s", asked.binds[i].path, folders[k]) < (int)sizeof path) remember_in(path);
}

int other_name_lacks(const struct stat *facts, struct refusal *why) {
  for (int i = 0; i < other_count; i++) {
    if (others[i].dev != facts->st_dev || others[i].ino != facts->st_ino) continue;
    refuse(why, "protected", "another name of a protected file");
    return others[i].rights;
  }
  return 0;
}

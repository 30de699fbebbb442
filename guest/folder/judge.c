/*
 * Access rules for paths, applied to each name below a bind, case-insensitively, whether or not the file exists.
 *
 * Problem. Git, shells, editors and agents execute files with certain names. A wall that may write next to them can try to
 * reach one by renaming a parent folder, by a hard or symbolic link, by another spelling, or by creating a missing one.
 *
 * Mechanism. A rule matches single names of the canonical path, never a list of existing files. Files and folders with a
 * protected name are neither renamed nor linked, in either direction, so a file under a protected name cannot get an
 * unprotected one or the reverse. A decision therefore stays valid during a concurrent rename (TOCTOU), in this wall or in
 * another wall on the same folder. Rules about git repositories depend on other names too: calls that they are about take
 * turns with those of other walls (turn.c).
 * - Names are folded before comparison: case, letters that fold to ASCII, characters that some file systems ignore, and the
 *   trailing dots and stream names (colon) of NTFS.
 * - In package folders (`node_modules` ...) some rules do not apply: packages ship such files, and no program reads them
 *   there; in folders of tests the names of keys are free. A folder takes its content along: its rename into such folders, or
 *   out of package folders, fails with EXDEV, so that mv(1) copies and each name is judged.
 * - For the same reason no folder is renamed into, out of or within a git repository, except below refs, logs and objects.
 * - A folder with HEAD, and with objects and refs or with commondir, is a git repository under any name: an entry that would
 *   complete one is refused, and in an existing one the names of `.git` are protected.
 * - A file that was removed while a descriptor of it is open (O_PATH) keeps its rules: the kernel adds " (deleted)" to its name.
 *
 * Not handled: hard links from before the wall's start, except of files in the first level (scan_hard_links).
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

enum { NAMES_MAX = 256, HARD_LINKS_MAX = 64, OWN_LOCKS_MAX = 16 };

/* UNWRITABLE: neither content nor name may change; UNREADABLE implies it. NOT_IN_*: the rule does not apply in such folders.
 * EXCEPTION: names that match are exempt from UNREADABLE rules without ALWAYS. */
enum { UNWRITABLE = 1, UNREADABLE = 2, NOT_IN_PACKAGES = 4, NOT_IN_TESTS = 8, EXCEPTION = 16, ALWAYS = 32 };

static struct rule {
  int flags;
  const char *pattern;
  size_t length;
  /* Offset of the star in the pattern; -1 if it has none. */
  int star;
} rules[RULES_MAX];
static int rule_count;

static struct denied {
  int rights;
  const char *path;
  size_t length;
} denied[RULES_MAX];
static int denied_count;

/* `folder`: a descriptor, so that a file of another folder that a rename gives the same path stays closed. */
static struct {
  const char *path;
  int folder;
} readable_secrets[RULES_MAX];
static int readable_secret_count;

static struct {
  dev_t dev;
  ino_t ino;
  int rights;
} hard_links[HARD_LINKS_MAX];
static int hard_link_count;

/* The last locks that this wall made: an older one stays closed to it. */
static struct {
  dev_t dev;
  ino_t ino;
} own_locks[OWN_LOCKS_MAX];

static const char *const package_folders[] = {"node_modules", "site-packages", "dist-packages"};
static const char *const test_folders[] = {"test", "tests", "__tests__", "testdata", "fixtures", "__fixtures__", "spec",
                                           "examples"};
/* Files with git configuration, and files that point git to another repository. */
static const char *const git_names[] = {"config", "config.worktree", "commondir", "gitdir", "hooks"};
/* Folders of other version control systems, with the files in them that name programs or lead to another repository. */
static const struct {
  const char *folder;
  const char *names[3];
} other_repositories[] = {
    {".hg", {"hgrc", "hgrc-not-shared", "sharedpath"}},
    {".jj", {"config.toml", "workspace-config.toml", "repo"}},
    {".sl", {"config", "sharedpath", "requires"}},
};
static const char *const repository_names[] = {"head", "objects", "refs", "commondir"};
#define COUNT(list) (sizeof(list) / sizeof *(list))

static void fold(const char *name, size_t length, char *to);

/* Parses FLAGS:PATTERN; the pattern is a name with at most one star, and is folded as names are. */
void add_rule(const char *text) {
  char folded[NAME_BYTES];
  errno = E2BIG;
  must(rule_count < RULES_MAX, "rule");
  struct rule *one = &rules[rule_count++];
  for (; *text && *text != ':'; text++) {
    if (*text == 'w') one->flags |= UNWRITABLE;
    else if (*text == 'r') one->flags |= UNREADABLE | UNWRITABLE;
    else if (*text == 'p') one->flags |= NOT_IN_PACKAGES;
    else if (*text == 't') one->flags |= NOT_IN_TESTS;
    else if (*text == 'x') one->flags |= EXCEPTION;
    else if (*text == 'a') one->flags |= ALWAYS;
  }
  errno = EINVAL;
  must(*text == ':' && text[1], "rule");
  fold(text + 1, strlen(text + 1), folded);
  must((one->pattern = strdup(folded)) != NULL, "rule");
  one->length = strlen(one->pattern);
  const char *star = strchr(one->pattern, '*');
  one->star = star ? (int)(star - one->pattern) : -1;
}

/* Parses RIGHTS:PATH; denies a canonical path and everything below it. */
void add_denied(const char *text) {
  errno = E2BIG;
  must(denied_count < RULES_MAX, "deny");
  struct denied *one = &denied[denied_count++];
  one->rights = *text == 'w' ? WRITING | NAMING : READING | WRITING | NAMING;
  one->path = strchr(text, ':') + 1;
  one->length = strlen(one->path);
}

/* Allows reading one canonical path despite an UNREADABLE rule. */
void add_readable_secret(const char *text) {
  errno = E2BIG;
  must(readable_secret_count < RULES_MAX, "lift");
  readable_secrets[readable_secret_count++].path = text;
}

static int is_below(const char *path, const char *folder, size_t length) {
  if (length == 1) return *path == '/';
  return !strncmp(path, folder, length) && (path[length] == 0 || path[length] == '/');
}

const struct bind *bind_of(const char *path) {
  const struct bind *deepest = NULL;
  for (int i = 0; i < options.bind_count; i++)
    if (is_below(path, options.binds[i].path, options.binds[i].length) && (!deepest || options.binds[i].length > deepest->length))
      deepest = &options.binds[i];
  return deepest;
}

/* ---- folded names ---- */

/* Characters that HFS+, or ext4 and other file systems of Linux with case folding, ignore in comparisons: the list of git's
 * utf8.c, and Default_Ignorable_Code_Point of Unicode. `first` to `last` is the byte after `before`. */
static const struct {
  const char *before;
  unsigned char first, last;
  size_t bytes;
} ignorable[] = {
    {"\xc2", 0xad, 0xad, 2},         {"\xcd", 0x8f, 0x8f, 2},         {"\xd8", 0x9c, 0x9c, 2},
    {"\xe1\x85", 0x9f, 0xa0, 3},     {"\xe1\x9e", 0xb4, 0xb5, 3},     {"\xe1\xa0", 0x8b, 0x8f, 3},
    {"\xe2\x80", 0x8b, 0x8f, 3},     {"\xe2\x80", 0xaa, 0xae, 3},     {"\xe2\x81", 0xa0, 0xaf, 3},
    {"\xe3\x85", 0xa4, 0xa4, 3},     {"\xef\xb8", 0x80, 0x8f, 3},     {"\xef\xbb", 0xbf, 0xbf, 3},
    {"\xef\xbe", 0xa0, 0xa0, 3},     {"\xef\xbf", 0xb0, 0xb8, 3},     {"\xf0\x9b\xb2", 0xa0, 0xa3, 4},
    {"\xf0\x9d\x85", 0xb3, 0xba, 4}, {"\xf3\xa0", 0x80, 0xbf, 4},
};

/* Letters that fold to ASCII (CaseFolding.txt of Unicode). */
static const struct {
  const char *letter, *folded;
} letters[] = {
    {"\xc5\xbf", "s"},      {"\xe2\x84\xaa", "k"},  {"\xc3\x9f", "ss"},      {"\xe1\xba\x9e", "ss"},
    {"\xef\xac\x80", "ff"}, {"\xef\xac\x81", "fi"}, {"\xef\xac\x82", "fl"},  {"\xef\xac\x83", "ffi"},
    {"\xef\xac\x84", "ffl"}, {"\xef\xac\x85", "st"}, {"\xef\xac\x86", "st"},
};

/* Length in bytes of a character that is ignored; 0 for any other. */
static size_t ignorable_bytes(const char *at) {
  for (size_t i = 0; i < COUNT(ignorable); i++) {
    size_t length = strlen(ignorable[i].before);
    unsigned char next = strncmp(at, ignorable[i].before, length) ? 0 : (unsigned char)at[length];
    if (next >= ignorable[i].first && next <= ignorable[i].last) return ignorable[i].bytes;
  }
  return 0;
}

/* Length in bytes of a letter that folds to ASCII; 0 for any other. */
static size_t letter_bytes(const char *at, const char **folded) {
  for (size_t i = 0; i < COUNT(letters); i++) {
    size_t length = strlen(letters[i].letter);
    *folded = letters[i].folded;
    if (!strncmp(at, letters[i].letter, length)) return length;
  }
  return 0;
}

/* The kernel's suffix of the name of a file that was removed, or replaced by a rename, while a descriptor of it is open. */
static const char removed[] = " (deleted)";

/* Length of a name or path without that suffix. */
static size_t length_without_removed(const char *name, size_t length) {
  size_t tail = sizeof removed - 1;
  return length > tail && !memcmp(name + length - tail, removed, tail) ? length - tail : length;
}

static void fold(const char *name, size_t length, char *to) {
  length = length_without_removed(name, length);
  const char *at = name, *end = name + length, *folded;
  size_t have = 0, bytes;
  while (at < end && have < NAME_BYTES - 1) {
    int is_ascii = (unsigned char)*at < 0x80;
    if (!is_ascii && (bytes = ignorable_bytes(at))) at += bytes;
    else if (!is_ascii && (bytes = letter_bytes(at, &folded))) {
      for (; *folded && have < NAME_BYTES - 1; folded++) to[have++] = *folded;
      at += bytes;
    }
    /* NTFS: "name:stream" opens a stream of the file "name". */
    else if (*at == ':' && have > 0) break;
    else to[have++] = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at), at++;
  }
  while (have > 0 && (to[have - 1] == '.' || to[have - 1] == ' ')) have--;
  to[have] = 0;
  if (!strcmp(to, "git~1")) strcpy(to, ".git");
}

/*
 * Offset of the first judged name: after the path of the bind; of the command's own folder, if the bind lies below it (settings
 * can leave a folder read-only but for some below it). A last name such as ".git" is judged too.
 */
static size_t judged_offset(const struct bind *bind) {
  static const char *const repositories[] = {"/.git", "/.hg", "/.jj", "/.sl"};
  const struct bind *own = bind_of(options.folder);
  if (own && is_below(bind->path, own->path, own->length)) bind = own;
  for (size_t i = 0; i < COUNT(repositories); i++) {
    size_t length = bind->length, tail = strlen(repositories[i]);
    if (length > tail && !strcmp(bind->path + length - tail, repositories[i])) return length - tail;
  }
  return bind->length == 1 ? 0 : bind->length;
}

struct path_names {
  int count;
  char name[NAMES_MAX][NAME_BYTES];
};

/* Splits a path below its bind into folded names; returns 0 if it has too many, or one that is too long. */
static int split_names(const char *path, const struct bind *bind, struct path_names *path_names) {
  path_names->count = 0;
  const char *at = path + judged_offset(bind);
  for (at += strspn(at, "/"); *at; at += strspn(at, "/")) {
    size_t length = strcspn(at, "/");
    if (path_names->count == NAMES_MAX || length >= NAME_BYTES) return 0;
    fold(at, length, path_names->name[path_names->count++]);
    at += length;
  }
  return 1;
}

static int is_one_of(const char *name, const char *const *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!strcmp(name, list[i])) return 1;
  return 0;
}

static int has_name_of(const struct path_names *path_names, const char *const *folders, size_t count) {
  for (int i = 0; i < path_names->count; i++)
    if (is_one_of(path_names->name[i], folders, count)) return 1;
  return 0;
}

static int is_in_packages(const struct path_names *path_names) {
  return has_name_of(path_names, package_folders, COUNT(package_folders));
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

static int is_readable_secret(const char *path) {
  for (int i = 0; i < readable_secret_count; i++)
    if (!strcmp(path, readable_secrets[i].path)) return 1;
  return 0;
}

void open_readable_secrets(void) {
  char folder[PATH_BYTES];
  for (int i = 0; i < readable_secret_count; i++) {
    const char *path = readable_secrets[i].path, *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s/", slash ? (int)(slash - path) : 0, path);
    readable_secrets[i].folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
}

int is_other_secret(const char *path, const struct stat *facts) {
  struct stat own;
  for (int i = 0; i < readable_secret_count; i++) {
    if (strcmp(path, readable_secrets[i].path)) continue;
    if (fstatat(readable_secrets[i].folder, strrchr(path, '/') + 1, &own, AT_SYMLINK_NOFOLLOW)) return 1;
    return own.st_dev != facts->st_dev || own.st_ino != facts->st_ino;
  }
  return 0;
}

static int judge_rule(const struct rule *rule, const char *path, int rights, struct refusal *why) {
  if (rule->flags & UNREADABLE) {
    return is_readable_secret(path) && !(rights & (WRITING | NAMING)) ? 0 : refuse(why, "secret", rule->pattern);
  }
  return rights & (WRITING | NAMING) ? refuse(why, "protected", rule->pattern) : 0;
}

static int judge_names(const char *path, const struct path_names *path_names, int rights, struct refusal *why) {
  int in_packages = is_in_packages(path_names), in_tests = has_name_of(path_names, test_folders, COUNT(test_folders));
  for (int i = 0; i < path_names->count; i++) {
    for (int k = 0; k < rule_count; k++) {
      const struct rule *rule = &rules[k];
      /* Fast path: the first byte rules out most names. */
      if (rule->star != 0 && *rule->pattern != path_names->name[i][0]) continue;
      if (rule->flags & EXCEPTION || !matches(rule, path_names->name[i])) continue;
      if (rule->flags & UNREADABLE && !(rule->flags & ALWAYS) && is_exception(path_names->name[i])) continue;
      if ((rule->flags & NOT_IN_PACKAGES && in_packages) || (rule->flags & NOT_IN_TESTS && in_tests)) continue;
      int failed = judge_rule(rule, path, rights, why);
      if (failed) return failed;
    }
  }
  return 0;
}

/* Below these folders of .git, file names are names of branches or hashes, and may equal those of git_names. */
static int is_ref_folder(const char *name) {
  static const char *const folders[] = {"refs", "logs", "objects"};
  return is_one_of(name, folders, COUNT(folders));
}

/* Index of the version control system that has a folder of this name; -1 if it is none, or git's. */
static int other_repository(const char *name) {
  for (int i = 0; i < (int)COUNT(other_repositories); i++)
    if (!strcmp(name, other_repositories[i].folder)) return i;
  return -1;
}

/* Other systems than git: their folder itself, and the last name of a path below it. */
static int judge_other_repositories(const struct path_names *path_names, struct refusal *why) {
  const char *last = path_names->count ? path_names->name[path_names->count - 1] : "";
  for (int i = 0; i < path_names->count; i++) {
    int found = other_repository(path_names->name[i]);
    if (found < 0) continue;
    const char *const *names = other_repositories[found].names;
    if (i == path_names->count - 1 || is_one_of(last, names, COUNT(other_repositories[found].names)))
      return refuse(why, "protected", other_repositories[found].folder);
  }
  return 0;
}

static int judge_git(const struct path_names *path_names, struct refusal *why) {
  for (int i = 0; i < path_names->count; i++) {
    if (strcmp(path_names->name[i], ".git")) continue;
    if (i == path_names->count - 1) return refuse(why, "protected", ".git");
    if (is_ref_folder(path_names->name[i + 1])) continue;
    for (int k = i + 1; k < path_names->count; k++)
      if (is_one_of(path_names->name[k], git_names, COUNT(git_names)))
        return refuse(why, "protected", !strcmp(path_names->name[k], "hooks") ? ".git/hooks" : ".git/config");
    return 0;
  }
  return 0;
}

/* Answer for an entry that cannot be looked up: a folder above may have lost its permissions, or the path may be longer than
 * PATH_MAX, while the caller still has a descriptor of the folder. Each caller takes the answer that refuses. */
enum doubt { DOUBT_IS_NO, DOUBT_IS_YES };

/* True if a folder has an entry of this name, or gets it by the call that is judged. */
static int has_entry(const char *folder, const char *name, const char *added, enum doubt doubt) {
  char path[PATH_BYTES + 16];
  struct stat facts;
  if (added && !strcmp(name, added)) return 1;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (fstatat(AT_FDCWD, path, &facts, AT_SYMLINK_NOFOLLOW) == 0) return 1;
  return errno != ENOENT && errno != ENOTDIR && doubt == DOUBT_IS_YES;
}

/* True if git recognises a folder as a repository, or would with the entry `added`. */
static int is_repository(const char *folder, const char *added, enum doubt doubt) {
  if (!has_entry(folder, "HEAD", added, doubt)) return 0;
  return has_entry(folder, "commondir", added, doubt) ||
         (has_entry(folder, "objects", added, doubt) && has_entry(folder, "refs", added, doubt));
}

/* Copies a path up to and including its first COUNT judged names. */
static void copy_prefix(const char *path, const struct bind *bind, int count, char *to) {
  size_t have = judged_offset(bind);
  for (; count > 0; count--) {
    have += strspn(path + have, "/");
    have += strcspn(path + have, "/");
  }
  memcpy(to, path, have);
  to[have] = 0;
}

/* Protects the configuration of bare repositories and others that are not called `.git`. */
static int judge_repositories(const char *path, const struct bind *bind, const struct path_names *path_names,
                              struct refusal *why) {
  char folder[PATH_BYTES];
  for (int i = 0; i < path_names->count; i++) {
    if (!is_one_of(path_names->name[i], git_names, COUNT(git_names))) continue;
    copy_prefix(path, bind, i, folder);
    if (is_repository(folder, NULL, DOUBT_IS_YES))
      return refuse(why, "protected", "configuration of a git repository");
  }
  return 0;
}

static int is_removed_file(const char *path, const struct denied *one) {
  return length_without_removed(path, strlen(path)) == one->length && !strncmp(path, one->path, one->length);
}

static int judge_denied(const char *path, int rights, struct refusal *why) {
  for (int i = 0; i < denied_count; i++)
    if (denied[i].rights & rights && (is_below(path, denied[i].path, denied[i].length) || is_removed_file(path, &denied[i])))
      return refuse(why, "denied", denied[i].path);
  return 0;
}

int judge(const char *path, int rights, struct refusal *why) {
  static struct path_names path_names;
  int failed = judge_denied(path, rights, why);
  const struct bind *bind = failed ? NULL : bind_of(path);
  if (!bind) return failed;
  if (!split_names(path, bind, &path_names)) return refuse(why, "protected", "a path with too many names");
  failed = judge_names(path, &path_names, rights, why);
  if (failed || !(rights & (WRITING | NAMING)) || !bind->is_writable) return failed;
  failed = judge_git(&path_names, why);
  if (!failed) failed = judge_other_repositories(&path_names, why);
  return failed ? failed : judge_repositories(path, bind, &path_names, why);
}

int refuse_stream(struct refusal *why) { return refuse(why, "stream", "a stream of the caller"); }

/* Outside of the wall such a file would run with the rights of the folder's owner, who may be root, for every user. */
mode_t mode_without_ids(const char *path, mode_t mode) { return bind_of(path) ? mode & ~(mode_t)(S_ISUID | S_ISGID) : mode; }

static int contains_denied(const char *path) {
  for (int i = 0; i < denied_count; i++)
    if (is_below(denied[i].path, path, strlen(path))) return 1;
  return 0;
}

/* True if one of these folders is a name of a path below its bind. */
static int is_path_in(const char *path, const char *const *folders, size_t count) {
  static struct path_names path_names;
  const struct bind *bind = bind_of(path);
  return bind && split_names(path, bind, &path_names) && has_name_of(&path_names, folders, count);
}

static int is_package_path(const char *path) {
  return is_path_in(path, package_folders, COUNT(package_folders));
}

/* ---- moves ---- */

enum area { OUTSIDE, IN_REPOSITORY, IN_REF_FOLDER };

/* Area of a repository named `.git`, `.hg` ..., or of one of git's of any name, in which a path lies. */
static enum area area_of(const char *path) {
  static struct path_names path_names;
  char folder[PATH_BYTES];
  enum area area = OUTSIDE;
  const struct bind *bind = bind_of(path);
  if (!bind || !split_names(path, bind, &path_names)) return OUTSIDE;
  for (int i = 0; i < path_names.count; i++) {
    copy_prefix(path, bind, i, folder);
    int is_named = i > 0 && (!strcmp(path_names.name[i - 1], ".git") || other_repository(path_names.name[i - 1]) >= 0);
    if (!is_named && !is_repository(folder, NULL, DOUBT_IS_YES)) continue;
    if (!is_ref_folder(path_names.name[i]) || i == path_names.count - 1) return IN_REPOSITORY;
    area = IN_REF_FOLDER;
  }
  return area;
}

static int is_test_path(const char *path) {
  return is_path_in(path, test_folders, COUNT(test_folders));
}

static int contains_readable_secret(const char *path) {
  for (int i = 0; i < readable_secret_count; i++)
    if (is_below(readable_secrets[i].path, path, strlen(path))) return 1;
  return 0;
}

/* A folder takes its content along, whose names were judged by the path before. */
static int judge_folder_move(const char *from, const char *to, struct refusal *why) {
  enum area before = area_of(from), after = area_of(to);
  int is_content = before == after && (before == OUTSIDE || before == IN_REF_FOLDER);
  if (!is_content) return refuse(why, "protected", "a folder of a git repository");
  if (contains_readable_secret(from) || contains_readable_secret(to))
    return refuse(why, "secret", "contains a path that may be read");
  if (is_package_path(from) != is_package_path(to)) return EXDEV;
  return is_test_path(to) && !is_test_path(from) ? EXDEV : 0;
}

int judge_move(const char *from, const char *to, mode_t type, struct refusal *why) {
  why->path = from;
  int failed = judge(from, READING | WRITING | NAMING, why);
  if (!failed && contains_denied(from)) failed = refuse(why, "denied", "contains a denied path");
  if (failed) return failed;
  why->path = to;
  failed = judge(to, READING | WRITING | NAMING, why);
  if (!failed && contains_denied(to)) failed = refuse(why, "denied", "contains a denied path");
  if (failed) return failed;
  if (S_ISDIR(type)) return judge_folder_move(from, to, why);
  return S_ISLNK(type) && is_package_path(from) && !is_package_path(to) ? EXDEV : 0;
}

int judge_link(const char *path, const char *text, struct refusal *why) {
  static struct path_names path_names;
  static const struct bind all = {.path = "/", .length = 1};
  if (!bind_of(path)) return 0;
  if (contains_denied(path)) return refuse(why, "denied", "a link on the way to a denied path");
  if (is_package_path(path)) return 0;
  if (!split_names(text, &all, &path_names)) return refuse(why, "protected", "a link target with too many names");
  return is_in_packages(&path_names) ? refuse(why, "protected", "a link into a package folder") : 0;
}

/* ---- creation of repositories ---- */

/* Splits a path whose last name is one of a repository's into folder and name; returns 0 for any other. */
static int split_repository_entry(const char *path, char *folder, const char **name) {
  char folded[NAME_BYTES];
  const char *slash = strrchr(path, '/');
  if (!slash || !bind_of(path) || strlen(slash + 1) >= sizeof folded) return 0;
  fold(slash + 1, strlen(slash + 1), folded);
  if (!is_one_of(folded, repository_names, COUNT(repository_names))) return 0;
  memcpy(folder, path, (size_t)(slash - path));
  folder[slash - path] = 0;
  *name = slash + 1;
  return 1;
}

int is_repository_entry(const char *path) {
  char folder[PATH_BYTES];
  const char *name;
  return split_repository_entry(path, folder, &name) && is_repository(folder, NULL, DOUBT_IS_NO);
}

int judge_creation(const char *path, struct refusal *why) {
  char folder[PATH_BYTES];
  const char *name;
  if (!split_repository_entry(path, folder, &name)) return 0;
  int completes = !is_repository(folder, NULL, DOUBT_IS_NO) && is_repository(folder, name, DOUBT_IS_YES);
  return completes ? refuse(why, "protected", "creation of a git repository") : 0;
}

int depends_on_repositories(const char *path) {
  static struct path_names path_names;
  const struct bind *bind = bind_of(path);
  if (!bind || !split_names(path, bind, &path_names)) return 0;
  return has_name_of(&path_names, git_names, COUNT(git_names)) ||
         is_one_of(path_names.count ? path_names.name[path_names.count - 1] : "", repository_names, COUNT(repository_names));
}

/* ---- locks of programs outside ---- */

/* Git writes a new configuration to config.lock, and renames that: a descriptor of it, or another file in its place, would
 * write the protected file. */
int is_lock(const char *path) {
  static char of[PATH_BYTES * 2], folded[NAME_BYTES];
  struct refusal why;
  const char *slash = strrchr(path, '/');
  if (!slash || strlen(slash + 1) >= sizeof folded || !bind_of(path)) return 0;
  fold(slash + 1, strlen(slash + 1), folded);
  size_t length = strlen(folded), tail = sizeof ".lock" - 1;
  if (length <= tail || strcmp(folded + length - tail, ".lock")) return 0;
  snprintf(of, sizeof of, "%.*s/%.*s", (int)(slash - path), path, (int)(length - tail), folded);
  return judge(of, WRITING, &why) != 0;
}

int judge_lock(const char *path, const struct stat *facts, struct refusal *why) {
  if (!S_ISREG(facts->st_mode) || !is_lock(path)) return 0;
  for (int i = 0; i < OWN_LOCKS_MAX; i++)
    if (own_locks[i].ino == facts->st_ino && own_locks[i].dev == facts->st_dev) return 0;
  return refuse(why, "protected", "a lock of a program outside");
}

void add_own_lock(const struct stat *facts) {
  static int next;
  own_locks[next].dev = facts->st_dev;
  own_locks[next++].ino = facts->st_ino;
  next %= OWN_LOCKS_MAX;
}

void drop_own_lock(const struct stat *facts) {
  for (int i = 0; i < OWN_LOCKS_MAX; i++)
    if (own_locks[i].ino == facts->st_ino && own_locks[i].dev == facts->st_dev) own_locks[i].ino = 0;
}

/* ---- hard links of protected files ---- */

static void add_hard_link(const char *path) {
  struct stat facts;
  struct refusal why;
  if (fstatat(AT_FDCWD, path, &facts, AT_SYMLINK_NOFOLLOW) || !S_ISREG(facts.st_mode) || facts.st_nlink < 2) return;
  int lacks = (judge(path, READING, &why) ? READING : 0) | (judge(path, WRITING, &why) ? WRITING : 0);
  if (!lacks || hard_link_count == HARD_LINKS_MAX) return;
  hard_links[hard_link_count].dev = facts.st_dev;
  hard_links[hard_link_count].ino = facts.st_ino;
  hard_links[hard_link_count++].rights = lacks;
}

static void scan_folder(const char *folder) {
  char path[PATH_BYTES];
  DIR *open = opendir(folder);
  if (!open) return;
  for (struct dirent *one; (one = readdir(open));)
    if (snprintf(path, sizeof path, "%s/%s", folder, one->d_name) < (int)sizeof path) add_hard_link(path);
  closedir(open);
}

void scan_hard_links(void) {
  static const char *const folders[] = {"", "/.git", "/.git/hooks"};
  char path[PATH_BYTES];
  for (int i = 0; i < options.bind_count; i++)
    for (size_t k = 0; k < COUNT(folders) && options.binds[i].is_writable; k++)
      if (snprintf(path, sizeof path, "%s%s", options.binds[i].path, folders[k]) < (int)sizeof path) scan_folder(path);
}

int rights_denied_to_hard_link(const struct stat *facts, struct refusal *why) {
  for (int i = 0; i < hard_link_count; i++) {
    if (hard_links[i].dev != facts->st_dev || hard_links[i].ino != facts->st_ino) continue;
    refuse(why, "protected", "a hard link of a protected file");
    return hard_links[i].rights;
  }
  return 0;
}

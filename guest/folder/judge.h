/* Access rules for paths. */
#ifndef FOLDER_JUDGE_H
#define FOLDER_JUDGE_H
#include "folder.h"

/* Cause of a refusal, for the report: the rule, the matching name or pattern, and for a move the path it is about. */
struct refusal {
  const char *rule, *name, *path;
};

void add_rule(const char *text);
void add_denied(const char *text);
void add_readable_secret(const char *text);

/* Returns the bind that contains a path; NULL for files of the system and of the wall's own file systems. */
const struct bind *bind_of(const char *path);
/* Returns 0, or a positive errno with `why` set. `path` must be canonical in the wall's root. */
int judge(const char *path, int rights, struct refusal *why);
/* The same for a rename of a file, folder or link (S_IFMT). EXDEV if the move would change which rules apply to its content, so
 * that mv(1) copies it and each name is judged. */
int judge_move(const char *from, const char *to, mode_t type, struct refusal *why);
/* The same for a symbolic link at `path` with target `text`. */
int judge_link(const char *path, const char *text, struct refusal *why);
/* The same for a new entry, which must not make a git repository of its folder. */
int judge_creation(const char *path, struct refusal *why);
/* True if the last name is one by which git recognises a repository, and its folder is one. */
int is_repository_entry(const char *path);
/* The same for a file NAME.lock that a program outside made, as git does to replace the protected file NAME. */
int judge_lock(const char *path, const struct stat *facts, struct refusal *why);
/* True for a path that ends in ".lock" after the path of a protected file. */
int is_lock(const char *path);
/* Records a lock that this wall makes, which it may write and remove. */
void add_own_lock(const struct stat *facts);
/* Forgets it before its inode gets another use. */
void drop_own_lock(const struct stat *facts);
/* True if a decision about writing this path depends on other names, of a git repository (turn.h). */
int depends_on_repositories(const char *path);
/* The mode that a file of a folder gets for one that was asked: without set-user-ID and set-group-ID. */
mode_t mode_without_ids(const char *path, mode_t mode);
/* Refuses more than a stream of the caller's may. Returns a positive errno. */
int refuse_stream(struct refusal *why);
/* Opens the folders of the secrets that may be read, when the wall starts. */
void open_readable_secrets(void);
/* True for a file with the path of such a secret that is not in its folder: another wall has renamed folders. */
int is_other_secret(const char *path, const struct stat *facts);
/* Records protected files that have more than one hard link when the wall starts. */
void scan_hard_links(void);
/* Returns the rights denied to such a file under each of its names; 0 for any other file. */
int rights_denied_to_hard_link(const struct stat *facts, struct refusal *why);

#endif

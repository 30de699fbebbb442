/* Which paths a call may touch. */
#ifndef FOLDER_JUDGE_H
#define FOLDER_JUDGE_H
#include "folder.h"

/* What refused a call: the rule in words of the report, the name that matched, and of a move which of its paths. */
struct refusal {
  const char *rule, *name, *path;
};

void add_rule(const char *text);
void add_denied(const char *text);
void add_lifted(const char *text);

/* The bind that a path lies in; NULL for the system and for what only the wall has. */
const struct bind *bind_of(const char *path);
/* 0, or the errno for this call; `why` is set then. The path is canonical in the wall's root. */
int judge(const char *path, int rights, struct refusal *why);
/* The same for a move from one path to another; EXDEV where a copy would be judged name by name. */
int judge_move(const char *from, const char *to, int is_file, struct refusal *why);
/* Whether a symbolic link at this path may have this text. */
int judge_link(const char *path, const char *text, struct refusal *why);
/* Whether a path is HEAD, objects or refs of a folder that has all three, and is a repository to git by that. */
int lies_in_repository(const char *path);
/* Remembers files that have a protected name and another one too. */
void find_other_names(void);
/* The right that such a file lacks under each of its names. */
int other_name_lacks(const struct stat *facts, struct refusal *why);

#endif

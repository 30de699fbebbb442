/* Opens, made for the caller. */
#ifndef FOLDER_OPENS_H
#define FOLDER_OPENS_H
#include <linux/seccomp.h>
#include "folder.h"

int is_open(int call);
void answer_open(const struct seccomp_notif *request);
/* Whether a process of this namespace is this one, or one that it forked for a call. */
int is_own_process(pid_t pid);
/* A child ended that was waited for: a helper of this file. */
int end_helper(pid_t pid);
mode_t mask_of(const struct seccomp_notif *request);

#endif

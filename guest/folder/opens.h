/* Opens, performed on behalf of the caller. */
#ifndef FOLDER_OPENS_H
#define FOLDER_OPENS_H
#include <linux/seccomp.h>
#include "folder.h"

int is_open(int call);
void answer_open(const struct seccomp_notif *request);
/* True for `init` and its helper, whose /proc files no caller may open. */
int is_own_process(pid_t pid);
/* Umask of the caller. */
mode_t umask_of(const struct seccomp_notif *request);

#endif

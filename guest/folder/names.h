/* Calls that create, rename or remove names, or change metadata, performed on behalf of the caller. */
#ifndef FOLDER_NAMES_H
#define FOLDER_NAMES_H
#include <linux/seccomp.h>

/* Returns 0 if the call is of another kind; otherwise performs and answers it. */
int answer_name(const struct seccomp_notif *request);

#endif

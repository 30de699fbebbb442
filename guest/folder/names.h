/* Calls that make, move and remove names, or change a file by its name, made for the caller. */
#ifndef EXEC_NAMES_H
#define EXEC_NAMES_H
#include <linux/seccomp.h>

/* 0 for a call of another kind; it was answered else. */
int answer_name(const struct seccomp_notif *request);

#endif

/* Lines about refused calls, and about the end, for the process that started the wall. */
#ifndef EXEC_REPORTS_H
#define EXEC_REPORTS_H
#include <linux/seccomp.h>
#include "judge.h"

/* Tells once of a path and a rule; later ones are counted. */
void refused_at(const struct seccomp_notif *request, const char *path, int rights, const struct refusal *why);
/* A line that is JSON already. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

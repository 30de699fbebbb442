/* Reports to the process that started the wall: refused calls, limits, exit status. */
#ifndef FOLDER_REPORTS_H
#define FOLDER_REPORTS_H
#include <linux/seccomp.h>
#include "judge.h"

/* Reports each combination of path, rule and rights once, up to a fixed number of lines. */
void report_refusal(const struct seccomp_notif *request, const char *path, int rights, const struct refusal *why);
void report_path(const char *kind, const char *path);
/* Reports a host name that was asked for without a network, once. Returns 1 if it did. */
int report_host(const char *name, const char *program);
/* Sends a line of JSON; the arguments must be escaped. */
void send_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

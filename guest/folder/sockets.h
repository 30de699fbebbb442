/* Connects and binds, made for the caller. */
#ifndef EXEC_SOCKETS_H
#define EXEC_SOCKETS_H
#include <linux/seccomp.h>

/* Connects of blocking sockets that are not through yet, for poll(2). */
enum { CONNECTS_MAX = 64 };
struct pollfd;

int answer_socket(const struct seccomp_notif *request);
/* Adds what is waited for; returns how many. */
int add_connects(struct pollfd *list);
void end_connects(const struct pollfd *list, int count);

#endif

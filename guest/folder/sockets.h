/* Connects and binds, performed on behalf of the caller. */
#ifndef FOLDER_SOCKETS_H
#define FOLDER_SOCKETS_H
#include <linux/seccomp.h>
#include "tunnels.h"

/* Connects of blocking sockets that are in progress. */
enum { CONNECTS_MAX = 64, PENDING_MAX = CONNECTS_MAX + TUNNELS_MAX };
struct pollfd;

/* Returns 0 if the call is of another kind. */
int answer_socket(const struct seccomp_notif *request);
/* Fills entries for poll(2), one for each connect in progress; returns their number. */
int poll_connects(struct pollfd *list);
void finish_connects(const struct pollfd *list, int count);

#endif

/* Connects to host names, through the egress proxy. */
#ifndef FOLDER_TUNNELS_H
#define FOLDER_TUNNELS_H
#include <linux/seccomp.h>

enum { TUNNELS_MAX = 64 };
struct pollfd;

/* Takes the socket over, and answers the connect once the proxy has. Returns 0, or a negative errno without either. */
int start_tunnel(const struct seccomp_notif *request, int socket, const char *name, int port);
/* Fills entries for poll(2), one for each tunnel that is not open yet; returns their number. */
int poll_tunnels(struct pollfd *list);
/* Looks at signals of the callers too, if `looks`. */
void go_on_with_tunnels(const struct pollfd *list, int count, int looks);

#endif

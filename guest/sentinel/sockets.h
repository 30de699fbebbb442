/* Sockets of a kept wall, created and connected here. */
#ifndef SENTINEL_SOCKETS_H
#define SENTINEL_SOCKETS_H
#include <stddef.h>
#include <stdint.h>

struct seccomp_notif;

void answer_socket(const struct seccomp_notif *request);
void answer_kept_connect(const struct seccomp_notif *request);
void answer_kept_bind(const struct seccomp_notif *request);
void answer_listen(const struct seccomp_notif *request);
int set_egress_port(const uint8_t *at, size_t bytes);
/* Pid of the caller of a connection to the egress path, by its local port; 0 if unknown. Forgets the connection. */
int caller_of_port(uint16_t port);

#endif

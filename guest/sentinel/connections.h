/* Sockets by their connection. */
#ifndef SENTINEL_CONNECTIONS_H
#define SENTINEL_CONNECTIONS_H
#include <stddef.h>
#include <stdint.h>

int is_sock_diag(int fd);
int look_up_socket(const uint8_t *at, size_t bytes);

#endif

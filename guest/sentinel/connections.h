/* Sockets by their connection. */
#ifndef SENTINEL_CONNECTIONS_H
#define SENTINEL_CONNECTIONS_H
#include <stddef.h>
#include <stdint.h>

int tells_of_sockets(int fd);
int take_connection(const uint8_t *at, size_t bytes);

#endif

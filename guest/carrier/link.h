/* Frames of the carrier's channel, in fixed buffers. */
#ifndef CARRIER_LINK_H
#define CARRIER_LINK_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include "wire.h"

/* Sets the channel: a connection, or a listening socket. Returns 0 for a bad descriptor. */
int open_link(int fd);
/* True while the channel listens and no server has sent a byte; nothing is written before that. */
int awaits_server(void);
/* True if a data frame and the frames caused by it fit into the buffer. */
int has_room(void);
void flush_channel(void);
void send_frame(uint8_t kind);
void send_about(uint8_t kind, uint32_t stream);
void send_credit(uint32_t stream, uint32_t bytes);
void send_data(uint32_t stream, const void *bytes, size_t length);
/* Descriptor and events to poll. */
struct pollfd poll_channel(void);
/* Accepts a server, or reads once and passes on complete frames. */
void serve_channel(short events, void (*take)(uint8_t kind, const uint8_t *payload, size_t length));
uint32_t number_at(const uint8_t *from);

#endif

/* Streams of the carrier: the runner's own three, and connections on their way out. */
#ifndef CARRIER_STREAMS_H
#define CARRIER_STREAMS_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include "wire.h"

enum { OWN_STREAMS = 3, STREAMS_MAX = OWN_STREAMS + CONNECTIONS_MAX, POLLS_MAX = STREAMS_MAX + 1 };

/* `reads` is what the guest writes, -1 where it is over; `writes` what it reads. */
void open_own(uint32_t stream, int reads, int writes);
void take_frame(uint8_t kind, const uint8_t *payload, size_t length);
size_t poll_streams(struct pollfd *on);
void serve_streams(const struct pollfd *on, size_t count);
/* The runner is gone: what it wrote is sent, and then the ends. Returns whether all is sent. */
int finish_streams(void);
/* `bye` was taken. */
extern int is_told;
/* `hold` was taken, and no `go` since. */
extern int is_still;

#endif

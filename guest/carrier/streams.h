/* Streams of the carrier: three of the runner, and outgoing connections. */
#ifndef CARRIER_STREAMS_H
#define CARRIER_STREAMS_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include "wire.h"

enum { OWN_STREAMS = 3, STREAMS_MAX = OWN_STREAMS + CONNECTIONS_MAX, POLLS_MAX = STREAMS_MAX + 1 };

/* `reads`: descriptor of the guest's output, -1 once closed; `writes`: of its input. */
void open_own(uint32_t stream, int reads, int writes);
void take_frame(uint8_t kind, const uint8_t *payload, size_t length);
size_t poll_streams(struct pollfd *on);
void serve_streams(const struct pollfd *on, size_t count);
/* After the exit of the runner: sends its remaining output, then the ends. Returns whether all is sent. */
int finish_streams(void);
/* True once `bye` was received. */
extern int is_told;
/* True between `hold` and `go`. */
extern int is_still;

#endif

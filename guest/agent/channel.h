/* Frames of the channel to the host, in fixed buffers. */
#ifndef AGENT_CHANNEL_H
#define AGENT_CHANNEL_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include "wire.h"

/* Unread rest of a payload. `bad` stays set once a field was missing. */
struct reader {
  uint8_t *at;
  size_t left;
  int bad;
};

uint8_t take_u8(struct reader *from);
uint16_t take_u16(struct reader *from);
uint32_t take_u32(struct reader *from);
uint64_t take_u64(struct reader *from);
/* Bytes of a length-prefixed field, of `min` to `max`; never null. */
const uint8_t *take_bytes(struct reader *from, size_t min, size_t max, size_t *length);
/* Bytes without a length of their own. */
const uint8_t *take_rest(struct reader *from, size_t length);
/* Field as a NUL-terminated string, moved over its length bytes. A NUL inside is a violation. */
char *take_text(struct reader *from, size_t min, size_t max);
/* True if all fields were present, and no further bytes. */
int is_whole(const struct reader *from);

/* Begins a frame in the outgoing buffer. Callers check for room first: a frame that does not fit ends the agent. */
void begin(uint8_t kind);
void put_u8(uint8_t value);
void put_u16(uint16_t value);
void put_u32(uint32_t value);
void put_u64(uint64_t value);
void put_bytes(const void *bytes, size_t length);
void put_text(const char *text);
/* Reserves a field to be filled in later; returns its offset. */
size_t put_hole(size_t length);
void fill_u8(size_t hole, uint8_t value);
void fill_u16(size_t hole, uint16_t value);
void fill_u32(size_t hole, uint32_t value);
void finish(void);
void refuse(uint8_t kind, uint32_t about, uint8_t stage, int error);

/* Descriptor of the channel, non-blocking; -1 while no host is connected. */
extern int channel;

/* Sets the channel: a connection, or a listening socket. Returns 0 for a bad descriptor. */
int open_channel(int fd);
/* Waits up to `ms` for a host on a listening socket. Returns whether the channel is connected. */
int await_host(int ms);
/* Closes the listening socket: from now on the agent ends when its host disconnects. */
void keep_host(void);
/* Descriptor and events to poll. */
struct pollfd poll_channel(void);
/* Accepts a host and calls `greet`, or reads and writes frames of the connected one. */
void serve_channel(short events, void (*take)(uint8_t kind, struct reader *payload), void (*greet)(void));
int has_room_for_answer(void);
int has_room_for_output(void);
int has_room_for_event(void);
/* Reports the code, kills all processes, and ends the agent. */
_Noreturn void end_agent(int code);

/* Ends the guest by reboot(2) instead of an exit: if process 1 exits, the kernel panics. */
extern int powers_off;
/* Ends the guest by a reboot instead of power-off: Firecracker exits at a reboot. */
extern int restarts;

#endif

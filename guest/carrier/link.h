/* Frames of the carrier's channel, in fixed buffers. */
#ifndef CARRIER_LINK_H
#define CARRIER_LINK_H
#include <stddef.h>
#include <stdint.h>
#include "wire.h"

/* Descriptor of the channel; not blocking. */
extern int channel;

/* Whether a frame of data, and the frames that follow from it, can be written. */
int has_room(void);
int has_unsent(void);
void flush_channel(void);
void send_frame(uint8_t kind);
void send_about(uint8_t kind, uint32_t stream);
void send_credit(uint32_t stream, uint32_t bytes);
void send_data(uint32_t stream, const void *bytes, size_t length);
/* Reads once, and hands on each whole frame. */
void read_channel(void (*take)(uint8_t kind, const uint8_t *payload, size_t length));
uint32_t number_at(const uint8_t *from);

#endif

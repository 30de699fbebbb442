/* Messages of the warden. */
#ifndef SENTINEL_CONTROL_H
#define SENTINEL_CONTROL_H
#include <stdint.h>

/* Numbers of a frame are little endian. */
static inline uint32_t u32_at(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void receive_frames(void);

#endif

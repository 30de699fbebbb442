/* Copies of memory. */
#ifndef SENTINEL_CAPTURE_H
#define SENTINEL_CAPTURE_H
#include <stddef.h>
#include <stdint.h>

int start_capture(const uint8_t *at, size_t bytes);

#endif

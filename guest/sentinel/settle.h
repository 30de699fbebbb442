/* Continued calls, until they are over. */
#ifndef SENTINEL_SETTLE_H
#define SENTINEL_SETTLE_H
#include <stdint.h>

/* Settling blocks everything else for this long; then it goes on beside it. */
enum { SETTLE_US = 20000 };

struct seccomp_notif;

/* Threads that are being driven past a call, and those that are traced for it. */
extern int settling_count, traced_count;

void record_continued(const struct seccomp_notif *request);
void release_stopped(void);
void begin_settling(uint8_t withdrawn);
void settle(void);
int is_settling_late(void);

#endif

/* Settling: waits until continued calls have finished. */
#ifndef SENTINEL_SETTLE_H
#define SENTINEL_SETTLE_H
#include <stdint.h>

/* Settling blocks all other requests for this long; then it continues in parallel. */
enum { SETTLE_US = 20000 };

struct seccomp_notif;

/* Number of settling threads, and of those traced for it. */
extern int settling_count, traced_count;

void record_continued(const struct seccomp_notif *request);
void release_stopped(void);
void begin_settling(uint8_t withdrawn);
void settle(void);
int is_settling_late(void);

#endif

/* Descriptors on their way into a caller. */
#ifndef SENTINEL_GIVE_H
#define SENTINEL_GIVE_H
#include <stdint.h>

enum { GIVING_MAX = 64, IN_VAIN_MAX = 64, PATIENCE_US = 2000 };

/* Descriptors on their way, and consecutive attempts that failed: a stopped wall is retried less often. */
extern int giving_count, given_in_vain;

void be_impatient(int us);
void give_descriptor(uint64_t id, int fd, int writes, int closes_on_exec);
void try_giving(void);
void judge_giving(void);

#endif

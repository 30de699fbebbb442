/* Phases and their clock. */
#ifndef SENTINEL_PHASES_H
#define SENTINEL_PHASES_H
#include <stddef.h>
#include <stdint.h>

/* Phases, and tables, that are not confirmed yet. */
extern int unheld_count, unanswered_count;

void go_on_settling(void);
void apply_due(void);
int take_table(const uint8_t *at, size_t bytes);

#endif

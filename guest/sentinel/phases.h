/* Phases and their clock. */
#ifndef SENTINEL_PHASES_H
#define SENTINEL_PHASES_H
#include <stddef.h>
#include <stdint.h>

/* Phases, and tables, that are not confirmed yet. */
extern int unconfirmed_count, unconfirmed_table_count;

void continue_settling(void);
void apply_due(void);
int add_phases(const uint8_t *at, size_t bytes);

#endif

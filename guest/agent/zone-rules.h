/* Names of the programs that start zones. */
#ifndef AGENT_ZONE_RULES_H
#define AGENT_ZONE_RULES_H
#include <stddef.h>

/*
 * Adds a rule of `count` names, and the files that these names lead to now. Returns 0 or an errno: E2BIG beyond the number of rules or
 * the room for their names.
 */
int add_rule(char *const *names, size_t count);
int count_rules(void);
/* Number of the first rule that names a file by its path, or -1. */
int rule_of(const char *path);

#endif

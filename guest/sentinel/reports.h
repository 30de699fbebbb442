/* Reports of single calls to the warden. */
#ifndef SENTINEL_REPORTS_H
#define SENTINEL_REPORTS_H
#include <stdint.h>
#include <sys/types.h>

/* Paths by their hash. */
uint64_t hash_of(const char *text, int writes);
int is_told(uint64_t hash);
void have_told(uint64_t hash);

int is_secret(const char *path);
int report_run(pid_t pid, int call, int class, int is_denied, int writes, const char *path, double wrote);
int report(pid_t pid, int call, int class, int is_denied, int writes, const char *path);
void key_paths(void);
int is_usual(const char *path);

#endif

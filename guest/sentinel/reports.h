/* Reports of single calls to the warden. */
#ifndef SENTINEL_REPORTS_H
#define SENTINEL_REPORTS_H
#include <stdint.h>
#include <sys/types.h>

/* Paths by their hash. */
uint64_t hash_of(const char *text, int writes);
int is_reported(uint64_t hash);
void mark_reported(uint64_t hash);

int is_secret(const char *path);
int report_exec_time(pid_t pid, int call, int class, int is_denied, int writes, const char *path, double wrote);
int report(pid_t pid, int call, int class, int is_denied, int writes, const char *path);
void draw_hash_keys(void);
int is_system_path(const char *path);

#endif

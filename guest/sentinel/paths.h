/* Paths in the root of the wall. */
#ifndef SENTINEL_PATHS_H
#define SENTINEL_PATHS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PATH_BYTES_MAX = 4096 };

int link_to(const char *name, char *to, size_t room);
int absolute_path(pid_t pid, int folder, const char *path, char *to, size_t room);
int is_below_scratch_path(int fd);
int open_below(int folder, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
void real_path(pid_t pid, int folder, const char *path, int is_exec, char *to, size_t room);

#endif

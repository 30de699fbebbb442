/* Processes of a kept wall: all descendants of its keeper. */
#ifndef SENTINEL_MEMBERS_H
#define SENTINEL_MEMBERS_H
#include <sys/types.h>

enum { MEMBERS_MAX = 512 };

/* Process ids of the wall, nearest first; returns their number. `tasks` is set to the number of their threads. */
int members_of_wall(pid_t members[MEMBERS_MAX], int *tasks);
int is_member(pid_t pid);
/* A number of /proc/PID/stat by its position after the name, counted from 1; -1 if the process has exited. */
long stat_of(pid_t pid, int position);

#endif

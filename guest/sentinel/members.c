/*
 * Processes of a kept wall.
 *
 * Problem: without a PID namespace the kernel has no list of the processes of a wall.
 *
 * Mechanism: the keeper adopts every orphan (keep.c), so all processes of the wall are its descendants: they are found
 * downwards by the lists of children, or upwards from a process by its parents.
 *
 * Relies on: /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN) and /proc/PID/stat, proc(5).
 *
 * Not handled: a list read while a child exits may omit another one (proc_pid_children(5)). Processes are
 * counted again at the next fork; the end of the wall does not depend on these lists (keep.c).
 */
#define _GNU_SOURCE
#include "members.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "wall.h"

enum { PARENT = 2, STEPS_UP_MAX = 600, LIST_BYTES = 4096 };

long stat_of(pid_t pid, int position) {
  char name[64], text[1024];
  snprintf(name, sizeof name, "/proc/%d/stat", pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return -1;
  text[n] = 0;
  /* The process name may contain spaces and brackets. */
  char *at = strrchr(text, ')');
  for (int i = 1; at && i < position; i++) at = strchr(at + 2, ' ');
  return at && at[1] ? (position == 1 ? at[2] : strtol(at + 1, NULL, 10)) : -1;
}

int is_member(pid_t pid) {
  for (int up = 0; pid > 1 && up < STEPS_UP_MAX; up++) {
    long parent = stat_of(pid, PARENT);
    if (parent == wall.keeper) return 1;
    if (parent < 0) return 0;
    pid = (pid_t)parent;
  }
  return 0;
}

static int add_listed(const char *file, pid_t members[MEMBERS_MAX], int count) {
  char text[LIST_BYTES];
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return count;
  for (;;) {
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n <= 0) break;
    text[n] = 0;
    /* A read ends after a whole number: the kernel writes each with its space at once. */
    for (char *at = text, *end; count < MEMBERS_MAX; at = end) {
      long pid = strtol(at, &end, 10);
      if (end == at) break;
      if (pid != wall.capturing) members[count++] = (pid_t)pid;
    }
  }
  close(fd);
  return count;
}

/* Children are listed by the thread that started them. Returns the number of threads in `tasks`. */
static int add_children(pid_t pid, pid_t members[MEMBERS_MAX], int count, int *tasks) {
  char name[300];
  snprintf(name, sizeof name, "/proc/%d/task", pid);
  DIR *threads = opendir(name);
  if (!threads) return count;
  for (struct dirent *one; (one = readdir(threads));) {
    if (one->d_name[0] == '.') continue;
    ++*tasks;
    snprintf(name, sizeof name, "/proc/%d/task/%s/children", pid, one->d_name);
    count = add_listed(name, members, count);
  }
  closedir(threads);
  return count;
}

int members_of_wall(pid_t members[MEMBERS_MAX], int *tasks) {
  int own = 0;
  *tasks = 0;
  int count = add_children(wall.keeper, members, 0, &own);
  for (int i = 0; i < count; i++) count = add_children(members[i], members, count, tasks);
  return count;
}

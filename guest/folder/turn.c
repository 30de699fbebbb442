/*
 * Turns of several walls that share a folder.
 *
 * Problem. A folder becomes a git repository by several names, and is one under any name of its own. Two commands, each in a
 * wall of its own, could create these names at the same time, or one could swap folders while the supervisor of the other has
 * resolved a path and not used it yet (TOCTOU across walls; within a wall one supervisor makes all calls in turn).
 *
 * Mechanism. All supervisors of a user run the same program file: renames, new folders and symbolic links (the type of a
 * renamed entry must not change), binds of Unix sockets, and calls that write a path with a name of git's, are made under an exclusive flock(2) of
 * it, from resolution to use. The lock belongs to an open file description of each wall, and ends with it. Commands cannot
 * open the file: it lies in the cache folder, outside of every bind.
 *
 * Relies on flock(2), per open file description.
 *
 * Not handled: walls of different users or versions, or started while the program is compiled for the first time; a file system
 * of the cache folder that has no locks.
 */
#define _GNU_SOURCE
#include "turn.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "folder.h"
#include "judge.h"

/* Pauses between two tries, and how many are made: 5 s in all. */
enum { PAUSE_NS = 100000, TRIES_MAX = 50000 };

static int turns = -1, is_ours;

void open_turns(void) {
  char name[32];
  snprintf(name, sizeof name, "/proc/self/fd/%d", OWN_FD);
  turns = open(name, O_RDONLY | O_CLOEXEC);
  must(turns >= 0, "turns");
}

int take_turn(void) {
  static const struct timespec pause = {0, PAUSE_NS};
  for (int i = 0; i < TRIES_MAX; i++) {
    if (flock(turns, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
      is_ours = 1;
      return 0;
    }
    nanosleep(&pause, NULL);
  }
  return -EAGAIN;
}

void end_turn(void) {
  is_ours = 0;
  flock(turns, LOCK_UN);
}

int has_turn(void) {
  return is_ours;
}

int lacks_turn(const char *path) {
  return !is_ours && depends_on_repositories(path);
}

/* State that all parts share: what was asked for, the command, descriptors. */
#ifndef EXEC_H
#define EXEC_H
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { REPORT_FD = 3, START_FD = 4, VARIABLES_FD = 5, OWN_FD = 6 };
enum { PATH_BYTES = 4096, NAME_BYTES = 256, BINDS_MAX = 64, RULES_MAX = 256, HELPERS_MAX = 32 };

/* Rights that a call needs on a path: its content, its change, its name (making, removing, moving). */
enum { READING = 1, WRITING = 2, NAMING = 4 };

/* A folder or file of this machine that the wall shows at its own path. */
struct bind {
  const char *path;
  size_t length;
  int is_writable;
};

struct asked {
  struct bind binds[BINDS_MAX];
  int bind_count;
  /* Words of the steps that build the root. */
  char **steps;
  int step_words;
  /* Hexadecimal filters: the one that asks, and the one that decides alone. */
  const char *asking, *fixed;
  /* Folder in which the command starts. */
  const char *folder;
  char **command;
  char **variables;
  /* Bits of 0, 1 and 2 that are terminals. */
  int terminals;
  uint64_t timeout_ms, memory_bytes;
  long processes;
  /* The caller's ids. */
  uid_t uid;
  gid_t gid;
  /* Port of the loopback inside on which the egress path listens; 0 without one. */
  int egress_port;
};

extern struct asked asked;

/* Ends the start: says why on the descriptor for that. */
_Noreturn void cannot(const char *what);

#endif

/* State shared by all files: the parsed options and the descriptors passed by the parent. */
#ifndef FOLDER_H
#define FOLDER_H
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { REPORT_FD = 3, START_FD = 4, VARIABLES_FD = 5, OWN_FD = 6 };
enum { PATH_BYTES = 4096, NAME_BYTES = 256, BINDS_MAX = 64, RULES_MAX = 256 };

/* Access that a call needs on a path: read its content, write its content or metadata, or create, remove or rename its
 * directory entry. */
enum { READING = 1, WRITING = 2, NAMING = 4 };

/* A folder or file of the host, bind-mounted in the wall at the same path. */
struct bind {
  const char *path;
  size_t length;
  int is_writable;
};

struct options {
  struct bind binds[BINDS_MAX];
  int bind_count;
  /* Arguments of the launcher steps that build the root. */
  char **steps;
  int step_argc;
  /* Seccomp filters in hexadecimal BPF: one returns SECCOMP_RET_USER_NOTIF, the other allows or refuses by itself. */
  const char *notify_filter, *fixed_filter;
  /* Initial working directory of the command. */
  const char *folder;
  char **command;
  char **variables;
  /* Bit mask: which of the descriptors 0, 1 and 2 are terminals. */
  int terminals;
  uint64_t timeout_ms, memory_bytes;
  long processes;
  /* The caller's ids. */
  uid_t uid;
  gid_t gid;
  /* Loopback port inside the wall on which the egress path listens; 0 if the wall has no network. */
  int egress_port;
};

extern struct options options;

/* Writes the failed step and errno to START_FD, and exits. */
_Noreturn void cannot(const char *step);

#endif

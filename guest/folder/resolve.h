/* Resolves paths of a caller to descriptors and canonical paths. */
#ifndef FOLDER_RESOLVE_H
#define FOLDER_RESOLVE_H
#include <linux/seccomp.h>
#include "folder.h"

/* Result of a resolution: an existing file (`fd`, O_PATH), or a directory entry that may not exist (`parent`, `name`). `path`
 * is canonical; the unused descriptor is -1. */
struct target {
  int fd, parent;
  char name[NAME_BYTES];
  char path[PATH_BYTES * 2];
  struct stat facts;
};

void open_proc_folders(void);
/* Finds the standard streams of the command that are files of the caller's, before it starts. A folder as one is an error. */
void find_streams(void);
/* Rights that the descriptor of an existing file has, for a stream of the caller's; -1 for any other file. */
int stream_rights(const struct target *target);
/* Resolves a path to an existing file. Returns 0 or a negative errno. */
int resolve_path(const struct seccomp_notif *request, int folder, const char *path, int follows, struct target *target);
/* Resolves all but the last name of a path. Returns 0 or a negative errno; -EEXIST if the last name is "/", "." or "..". */
int resolve_parent(const struct seccomp_notif *request, int folder, const char *path, struct target *target);
/* True if this process is led to the judged entry by the caller's path, which then is resolved from the working folder that this
 * sets. Only while this wall has the turn (turn.h) does the path lead there until it is used. */
int enter_base(const struct seccomp_notif *request, const char *path, const struct target *target);
/* Duplicates a descriptor of the caller, and reads its path. */
int resolve_descriptor(const struct seccomp_notif *request, int number, struct target *target);
/* Path of a descriptor of this process (/proc/self/fd). Returns 0 or a negative errno. */
int canonical_path(int fd, char *to, size_t room);
/* Opens the file of an O_PATH descriptor with access, as a new open file description. */
int reopen(int fd, uint64_t flags);
/* Writes "/proc/self/fd/FD", a path that leads to the inode. */
void fd_path(int fd, char *to, size_t room);
/* True if a file lies on a file system of the host: not in /proc, nor in the wall's scratch. */
int is_host_file(const struct stat *facts);
void close_target(struct target *target);

#endif

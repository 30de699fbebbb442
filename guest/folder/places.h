/* Paths of a caller, as descriptors and canonical paths. */
#ifndef FOLDER_PLACES_H
#define FOLDER_PLACES_H
#include <linux/seccomp.h>
#include "folder.h"

/* An existing file (`fd`, opened without access to it), or a name in a folder (`parent`, `name`), and its path. */
struct place {
  int fd, parent;
  char name[NAME_BYTES];
  char path[PATH_BYTES * 2];
  struct stat facts;
};

void open_places(void);
/* Finds the file that a path leads to; a negative errno else. The caller closes `fd`. */
int find_place(const struct seccomp_notif *request, int folder, const char *path, int follows, struct place *place);
/* Finds the folder of a path's last name. The caller closes `parent`. */
int find_name(const struct seccomp_notif *request, int folder, const char *path, struct place *place);
/* A descriptor of the caller as a place; the caller closes `fd`. */
int find_descriptor(const struct seccomp_notif *request, int number, struct place *place);
/* The path of a descriptor of this process. */
int path_of(int fd, char *to, size_t room);
/* A second open file description, by the name of a descriptor of this process. */
int open_again(int fd, uint64_t flags);
void name_of_descriptor(int fd, char *to, size_t room);
/* Whether a file is neither of /proc nor of what only the wall has. */
int is_of_system(const struct stat *facts);
void close_place(struct place *place);

#endif

/* Memory, descriptors and state of a caller. */
#ifndef SENTINEL_CALLER_H
#define SENTINEL_CALLER_H
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

int read_text(pid_t pid, uint64_t from, char *to, size_t room);
int read_bytes(pid_t pid, uint64_t from, void *to, size_t bytes);
long status_of(pid_t pid, const char *word, int base, int last);
ino_t pid_namespace_of(pid_t pid);
int has_ended(pid_t pid);
int is_request_valid(uint64_t id);
int copy_descriptor(pid_t pid, int number);
int connect_at_once(int socket, const struct sockaddr *to, socklen_t bytes);
void close_copy(int fd);
int open_descriptor(pid_t pid, int number);
int64_t socket_inode(pid_t pid, int number);

#endif

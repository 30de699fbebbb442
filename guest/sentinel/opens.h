/* Opens, performed here. */
#ifndef SENTINEL_OPENS_H
#define SENTINEL_OPENS_H

struct seccomp_notif;

struct stat;

int is_scratch(const struct stat *facts);
int check_file(int fd, int writes);
int is_open(int call);
void answer_open(const struct seccomp_notif *request);

#endif

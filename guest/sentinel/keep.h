/* The keeper: the parent of a wall without namespaces. */
#ifndef SENTINEL_KEEP_H
#define SENTINEL_KEEP_H
#include <sys/types.h>

/* Exit code of a killed wall: 128 + SIGKILL, as in a shell. */
enum { KILLED = 128 + 9 };

/* Descriptor of SIGCHLD; -1 if this is no keeper. */
extern int sigchld_fd;

/* Starts the program, and becomes its keeper. */
void keep(int argc, char **argv);
int parse_keeper_option(const char *word);
void receive_listener(void);
/* Records the exit of a child. */
void child_exited(pid_t pid, int status);
/* Ends the wall if its first program has exited. */
void end_if_over(void);
/* Ends every process of the wall, then this one. Async-signal-safe. */
_Noreturn void end_kept(int status);

#endif

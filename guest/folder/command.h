/* The command, from fork to exec. */
#ifndef FOLDER_COMMAND_H
#define FOLDER_COMMAND_H
#include <sys/types.h>

/* Forks the command; returns its pid after its seccomp listener was copied to `wall.listener`. `terminal` is the slave end of
 * the wall's terminal, or -1; `proc` is the host's /proc, in which the uid and gid maps are written. */
pid_t start_command(int terminal, int proc);
/* Empties the bounding and all other capability sets of this process, and sets no_new_privs. */
void drop_capabilities(void);

#endif

/* The command, from its fork to its exec. */
#ifndef FOLDER_COMMAND_H
#define FOLDER_COMMAND_H
#include <sys/types.h>

/* Forks it; `terminal` is the wall's terminal or -1, `proc` the folder in which maps are written. Returns its pid once its
 * listener is `wall.listener`. */
pid_t start_command(int terminal, int proc);
/* Gives up every capability of this process, for good. */
void drop_rights(void);

#endif

/* The limit of the wall's memory, where no cgroup holds it. */
#ifndef FOLDER_MEMORY_H
#define FOLDER_MEMORY_H
#include <sys/types.h>

/* Takes a sum that is due, or the answer of the helper; exits if the command is over its limit. */
void check_memory(void);
/* Milliseconds until check_memory has work; -1 if never. */
int memory_wait_ms(void);
/* Readable when the helper has answered; -1 without one. */
int memory_answer_fd(void);
int is_memory_helper(pid_t pid);
/* Kills the helper if it is this child. */
void memory_helper_stopped(pid_t pid);
/* Takes note of a child that was reaped. */
void memory_helper_exited(pid_t pid);

#endif

/* Process 1 of the wall. */
#ifndef FOLDER_INIT_H
#define FOLDER_INIT_H

/* Builds the wall, starts the command, and performs its notified system calls until it exits. */
_Noreturn void init(int control);

#endif

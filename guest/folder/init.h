/* Process 1 of the wall. */
#ifndef EXEC_INIT_H
#define EXEC_INIT_H

/* Builds the wall, starts the command, makes its calls. */
_Noreturn void init(int control);

#endif

/* The start, and the handover of the listener. */
#ifndef SENTINEL_START_H
#define SENTINEL_START_H

void copy_listener(void);
/* Parses the options, switches to the wall's user, and drops rights. */
void set_up_sentinel(int argc, char **argv);
void start(int argc, char **argv);

#endif

/* The start, and the handover of the listener. */
#ifndef SENTINEL_START_H
#define SENTINEL_START_H

void copy_listener(void);
/* Takes the options, gives rights up, and becomes the user of the wall. */
void set_up_sentinel(int argc, char **argv);
void start(int argc, char **argv);

#endif

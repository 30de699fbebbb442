/* The start, and the handover of the listener. */
#ifndef SENTINEL_START_H
#define SENTINEL_START_H

void take_listener(void);
void start(int argc, char **argv);

#endif

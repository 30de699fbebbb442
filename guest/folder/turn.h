/* Turns of all folder walls of one user, for calls whose decision depends on several names. */
#ifndef FOLDER_TURN_H
#define FOLDER_TURN_H

/* Error of a call that must be performed with the turn; outside of the range of errnos. */
enum { NEEDS_TURN = -100001 };

void open_turns(void);
/* Waits for the turn. Returns 0, or -EAGAIN if another wall does not end its turn. */
int take_turn(void);
void end_turn(void);
int has_turn(void);
/* True if a call that writes this path needs the turn, and does not have it. */
int lacks_turn(const char *path);

#endif

/* The caller's terminal, and the one of the wall. */
#ifndef EXEC_TERMINAL_H
#define EXEC_TERMINAL_H
struct pollfd;

/* Takes the master of the wall's terminal, and begins to pass bytes on. */
void begin_terminal(int master);
int has_terminal(void);
/* Sets the caller's terminal to pass every key on, and back. */
void take_terminal(void);
void restore_terminal(void);
void resize_terminal(void);
/* Fills two entries for poll(2); passes on what they tell of. */
void watch_terminal(struct pollfd *on);
void relay_terminal(const struct pollfd *on);
/* Prints what the wall wrote before it ended. */
void drain_terminal(void);

#endif

/* Relay between the caller's terminal and the wall's own. */
#ifndef FOLDER_TERMINAL_H
#define FOLDER_TERMINAL_H
struct pollfd;

/* Takes ownership of the master of the wall's terminal, and starts the relay. */
void start_terminal_relay(int master);
int has_terminal(void);
/* Switches the caller's terminal to raw mode, and back. */
void make_terminal_raw(void);
void restore_terminal(void);
/* For a signal handler: at once, though output may wait. */
void restore_terminal_now(void);
void resize_terminal(void);
/* Fills three entries for poll(2); relays by their results. */
void poll_terminal(struct pollfd *on);
void relay_terminal(const struct pollfd *on);
/* Print the output that waits: all of it, after the end of the wall; or what is there at a stop of the command. `awaits` waits
 * until the terminal takes output, and returns 0 to give up what still waits. */
void drain_terminal(int (*awaits)(int terminal));
void print_before_stop(int (*awaits)(int terminal));

#endif

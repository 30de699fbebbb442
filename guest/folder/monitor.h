/* The monitor: the process outside of the wall that relays terminal and signals and enforces the time limit. */
#ifndef FOLDER_MONITOR_H
#define FOLDER_MONITOR_H

/* Messages between the monitor and `init`. MASTER, LISTENER and NOTIFIER carry a descriptor (SCM_RIGHTS); SIGNAL_* a signal number,
 * and TAKEN, which answers those. */
enum { MASTER = 'M', LISTENER = 'L', NOTIFIER = 'N', STOPPED = 'S', SIGNAL_ONE = 'K', SIGNAL_GROUP = 'G', TAKEN = 'T' };

struct message {
  int kind, number;
};

void send_message(int socket, int kind, int number, int fd);
/* Returns 0 if the peer has closed its end. `fd` is -1 if the message carries none; otherwise the caller owns it. */
int receive_message(int socket, struct message *message, int *fd);
_Noreturn void run_monitor(void);

#endif

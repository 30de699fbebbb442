/* The process outside of the wall: terminal, signals, time, end. */
#ifndef EXEC_HOLD_H
#define EXEC_HOLD_H

/* Words between `hold` and `init`, each with an optional descriptor or number. */
enum { MASTER = 'M', LISTENER = 'L', STOPPED = 'S', SIGNAL_ONE = 'K', SIGNAL_GROUP = 'G' };

struct word {
  int kind, number;
};

void send_word(int socket, int kind, int number, int fd);
/* 0 at the end of the other side. `fd` is -1 where none came. */
int take_word(int socket, struct word *word, int *fd);
_Noreturn void hold(void);

#endif

#ifndef MAYFLY_STEPS_H
#define MAYFLY_STEPS_H

/* Readiness pipe, which also carries the reason of a failed start. */
enum { READY_FD = 4 };

/* Name of the current step, for the error message. */
extern const char *step_name;

/* Writes the current step, `what` and errno to READY_FD, and exits. */
_Noreturn void fail(const char *what);
void must(int good, const char *what);
long number(const char *text);

/* Executes steps in order: each is NAME COUNT ARG... Returns after the last one. */
void carry_out(char **word, int words);

#endif

#ifndef MAYFLY_STEPS_H
#define MAYFLY_STEPS_H

/* Descriptor on which a start that fails says why. */
enum { READY_FD = 4 };

/* Name of the step that is carried out, for the message of its failure. */
extern const char *step_name;

/* Says which step failed, with errno, and ends the process. */
_Noreturn void fail(const char *what);
void must(int good, const char *what);
long number(const char *text);

/* Carries out steps, each a name, a count of arguments and those, in this order. Returns after the last one. */
void carry_out(char **word, int words);

#endif

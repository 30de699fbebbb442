/* Parser of audit records about AppArmor refusals. */
#ifndef AGENT_REFUSAL_H
#define AGENT_REFUSAL_H
#include <stdint.h>
#include <sys/types.h>

enum { REFUSAL_WORD_BYTES_MAX = 64, REFUSAL_TEXT_BYTES_MAX = 4200 };

struct refusal {
  pid_t pid;
  uint8_t class;
  char operation[REFUSAL_WORD_BYTES_MAX];
  /* Path of a file, family of a socket, or name of a capability; empty if the record has none. */
  char subject[REFUSAL_TEXT_BYTES_MAX];
};

/* Parses a record; returns 0 if it is not a refusal of this profile. */
int read_refusal(const char *record, const char *profile, struct refusal *to);

#endif

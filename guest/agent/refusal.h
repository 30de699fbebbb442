/* A record of the audit subsystem about a refusal of AppArmor, taken apart. */
#ifndef AGENT_REFUSAL_H
#define AGENT_REFUSAL_H
#include <stdint.h>
#include <sys/types.h>

enum { REFUSAL_WORD_BYTES_MAX = 64, REFUSAL_TEXT_BYTES_MAX = 4200 };

struct refusal {
  pid_t pid;
  uint8_t class;
  char operation[REFUSAL_WORD_BYTES_MAX];
  /* Path of a file, family of a socket, name of a capability; empty where there is none. */
  char subject[REFUSAL_TEXT_BYTES_MAX];
};

/* Reads the text of a record; 0 where it is none of a refusal of this profile. */
int read_refusal(const char *record, const char *profile, struct refusal *to);

#endif

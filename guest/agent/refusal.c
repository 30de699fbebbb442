/*
 * Problem: a record contains names of programs and files that the job chose, and the agent parses it as root.
 *
 * Mechanism: the kernel quotes a text, and encodes one that contains a quote, a blank or a control character in hexadecimal without
 * quotes (audit_log_untrustedstring), so that no text can contain a key. Each value is copied to its own buffer and truncated; a NUL
 * becomes "?".
 *
 * Not handled: a socket family or type without a name in the kernel is reported by its number.
 */
#include "refusal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "wire.h"

enum { KEY_BYTES_MAX = 32, PID_MAX = 4194304 };

static int digit_of(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* Number of bytes of an unquoted hexadecimal value; 0 for any other value. */
static size_t digits_in(const char *value) {
  size_t length = strcspn(value, " \n");
  return length % 2 == 0 && strspn(value, "0123456789ABCDEF") == length ? length : 0;
}

/* Copies the value of a key, truncated to `bytes`; empty if there is none. Only a path may be in hexadecimal. */
static char *value_of(const char *record, const char *key, int is_path, char *to, size_t bytes) {
  char wanted[KEY_BYTES_MAX];
  int length = snprintf(wanted, sizeof wanted, " %s=", key);
  const char *at = strstr(record, wanted);
  size_t have = 0;
  to[0] = 0;
  if (!at || length >= KEY_BYTES_MAX) return to;
  at += length;
  size_t digits = is_path ? digits_in(at) : 0;
  const char *end = *at == '"' ? "\"\n" : " \n";
  if (*at == '"') at++;
  size_t left = digits > 0 ? digits : strcspn(at, end);
  for (; left > 0 && have < bytes - 1; have++) {
    to[have] = digits > 0 ? (char)(digit_of(at[0]) << 4 | digit_of(at[1])) : at[0];
    if (to[have] == 0) to[have] = '?';
    at += digits > 0 ? 2 : 1;
    left -= digits > 0 ? 2 : 1;
  }
  to[have] = 0;
  return to;
}

static int is_one_of(const char *word, const char *const *words) {
  for (; *words; words++)
    if (!strcmp(word, *words)) return 1;
  return 0;
}

/* Class of a refusal, by the kind of rule and, for files, the requested access. */
static uint8_t class_of(const char *operation, const char *kind, const char *detail, const char *mask) {
  static const char *const mounts[] = {"mount", "umount", "pivotroot", NULL};
  static const char *const raw[] = {"net_raw", "packet", "raw", NULL};
  if (!strcmp(operation, "exec")) return REFUSED_EXEC;
  if (is_one_of(detail, raw)) return REFUSED_RAW_SOCKET;
  if (!strcmp(kind, "net")) return REFUSED_NETWORK;
  if (!strcmp(kind, "file")) return strpbrk(mask, "wacdl") ? REFUSED_WRITE : REFUSED_OUTSIDE;
  if (!strcmp(operation, "ptrace") || !strcmp(detail, "sys_ptrace")) return REFUSED_DEBUG;
  if (is_one_of(operation, mounts)) return REFUSED_MOUNT;
  if (!strcmp(operation, "userns_create")) return REFUSED_NAMESPACE;
  if (!strcmp(detail, "sys_module")) return REFUSED_MODULE;
  if (!strcmp(operation, "signal")) return REFUSED_SIGNAL;
  return !strcmp(kind, "cap") ? REFUSED_CAPABILITY : REFUSED_OTHER;
}

int read_refusal(const char *record, const char *profile, struct refusal *to) {
  char kind[REFUSAL_WORD_BYTES_MAX], detail[REFUSAL_WORD_BYTES_MAX], mask[REFUSAL_WORD_BYTES_MAX], word[REFUSAL_WORD_BYTES_MAX];
  if (!strstr(record, " apparmor=\"DENIED\" ")) return 0;
  if (strcmp(value_of(record, "profile", 0, word, sizeof word), profile)) return 0;
  long pid = strtol(value_of(record, "pid", 0, word, sizeof word), NULL, 10);
  if (pid < 2 || pid > PID_MAX) return 0;
  to->pid = (pid_t)pid;
  value_of(record, "operation", 0, to->operation, sizeof to->operation);
  value_of(record, "class", 0, kind, sizeof kind);
  value_of(record, "denied_mask", 0, mask, sizeof mask);
  value_of(record, "sock_type", 0, detail, sizeof detail);
  if (strcmp(detail, "raw")) value_of(record, !strcmp(kind, "cap") ? "capname" : "family", 0, detail, sizeof detail);
  to->class = class_of(to->operation, kind, detail, mask);
  if (!strcmp(kind, "file")) value_of(record, "name", 1, to->subject, sizeof to->subject);
  else memcpy(to->subject, detail, sizeof detail);
  return 1;
}

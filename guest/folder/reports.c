/*
 * Reports in lines of JSON to the process that started the wall: refused calls, limits, exit status.
 *
 * Problem. A command can cause refusals without bound, with paths of its choice.
 *
 * Mechanism. Each combination of path, rule and rights is reported once, up to LINES_MAX lines; later refusals are enforced
 * but not reported. All bytes that JSON or a terminal would interpret are escaped. A write blocks while the reader is behind,
 * which the number of lines bounds.
 *
 * Relies on a write(2) of at most PIPE_BUF bytes being atomic: the monitor and `init` share the descriptor.
 */
#define _GNU_SOURCE
#include "reports.h"
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINES_MAX = 200, TEXT_BYTES = 1600 };

static uint64_t reported[LINES_MAX];
static int reported_count;

void send_report(const char *format, ...) {
  char line[PIPE_BUF];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(line, sizeof line, format, list);
  va_end(list);
  if (n <= 0 || n >= (int)sizeof line) return;
  /* Best effort: the rule is enforced without its report. */
  ssize_t written = write(REPORT_FD, line, (size_t)n);
  (void)written;
}

static void escape(const char *text, char *to, size_t room) {
  size_t have = 0;
  for (const unsigned char *at = (const unsigned char *)text; *at && have + 8 < room; at++) {
    int is_plain = *at >= ' ' && *at < 0x7f && *at != '"' && *at != '\\';
    have += (size_t)snprintf(to + have, room - have, is_plain ? "%c" : "\\u00%02x", *at);
  }
  to[have] = 0;
}

void report_path(const char *kind, const char *path) {
  char text[TEXT_BYTES];
  escape(path, text, sizeof text);
  send_report("{\"kind\":\"%s\",\"path\":\"%s\"}\n", kind, text);
}

static uint64_t hash_of(const char *path, const struct refusal *why, int rights) {
  uint64_t hash = 14695981039346656037u ^ (uint64_t)rights;
  for (const char *at = path; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
  for (const char *at = why->name; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
  return hash;
}

/* Returns 0 if it was reported before, or if there is no room for more. */
static int take_line(uint64_t hash) {
  for (int i = 0; i < reported_count; i++)
    if (reported[i] == hash) return 0;
  if (reported_count == LINES_MAX) return 0;
  reported[reported_count++] = hash;
  return 1;
}

int report_host(const char *name, const char *program) {
  static const struct refusal why = {"network", "closed", NULL};
  char host[TEXT_BYTES], asker[TEXT_BYTES / 2];
  if (!take_line(hash_of(name, &why, 0))) return 0;
  escape(name, host, sizeof host);
  escape(program, asker, sizeof asker);
  send_report("{\"kind\":\"refused\",\"what\":\"connect\",\"path\":\"%s\",\"rule\":\"%s\",\"name\":\"%s\",\"program\":\"%s\"}\n", host,
      why.rule, why.name, asker);
  return 1;
}

void report_refusal(const struct seccomp_notif *request, const char *path, int rights, const struct refusal *why) {
  char text[TEXT_BYTES], name[TEXT_BYTES / 2];
  if (!why->rule) return;
  if (!take_line(hash_of(path, why, rights))) return;
  escape(path, text, sizeof text);
  escape(why->name, name, sizeof name);
  const char *what = rights & NAMING ? "name" : rights & WRITING ? "write" : "read";
  send_report("{\"kind\":\"refused\",\"pid\":%u,\"call\":%d,\"what\":\"%s\",\"path\":\"%s\",\"rule\":\"%s\",\"name\":\"%s\"}\n",
      request->pid, request->data.nr, rights ? what : "connect", text, why->rule, name);
}

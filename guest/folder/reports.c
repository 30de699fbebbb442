/*
 * Lines of JSON for the process that started the wall: what was refused, and why it ended.
 *
 * Problem. A command can have calls refused as often as it likes, with paths of its own making.
 *
 * Mechanism. Each path and rule is told once, up to a number of lines; what comes after is counted. Bytes that JSON or a
 * terminal would read are escaped. The pipe is never waited for: a line that finds no room is counted too.
 *
 * Relies on write(2) of less than PIPE_BUF being whole.
 */
#define _GNU_SOURCE
#include "reports.h"
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINES_MAX = 200, TEXT_BYTES = 1600 };

static uint64_t told[LINES_MAX];
static int told_count;
static long untold;

void say(const char *format, ...) {
  char line[PIPE_BUF];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(line, sizeof line, format, list);
  va_end(list);
  if (n <= 0 || n >= (int)sizeof line || write(REPORT_FD, line, (size_t)n) != n) untold++;
}

static void escape(const char *text, char *to, size_t room) {
  size_t have = 0;
  for (const unsigned char *at = (const unsigned char *)text; *at && have + 8 < room; at++) {
    int is_plain = *at >= ' ' && *at < 0x7f && *at != '"' && *at != '\\';
    have += (size_t)snprintf(to + have, room - have, is_plain ? "%c" : "\\u00%02x", *at);
  }
  to[have] = 0;
}

static uint64_t hash_of(const char *path, const struct refusal *why, int rights) {
  uint64_t hash = 14695981039346656037u ^ (uint64_t)rights;
  for (const char *at = path; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
  for (const char *at = why->name; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
  return hash;
}

void refused_at(const struct seccomp_notif *request, const char *path, int rights, const struct refusal *why) {
  char text[TEXT_BYTES], name[TEXT_BYTES / 2];
  if (!why->rule) return;
  uint64_t hash = hash_of(path, why, rights);
  for (int i = 0; i < told_count; i++)
    if (told[i] == hash) return;
  if (told_count == LINES_MAX) {
    untold++;
    return;
  }
  told[told_count++] = hash;
  escape(path, text, sizeof text);
  escape(why->name, name, sizeof name);
  const char *what = rights & NAMING ? "name" : rights & WRITING ? "write" : "read";
  say("{\"kind\":\"refused\",\"pid\":%u,\"call\":%d,\"what\":\"%s\",\"path\":\"%s\",\"rule\":\"%s\",\"name\":\"%s\"}\n",
      request->pid, request->data.nr, rights ? what : "connect", text, why->rule, name);
}

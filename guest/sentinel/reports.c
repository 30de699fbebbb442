/*
 * Reports of single calls: budgets, and which paths were reported before.
 *
 * Problem: a guest makes a million calls a second, and would flood the warden or hide one call of interest among others.
 *
 * Mechanism: each kind of report has a token bucket of its own, so that a flood of one cannot suppress another: places of
 * secrets, programs, refusals, the rest. Dropped reports are counted in `leftOut`. A path is reported once for reading and
 * once for writing, by a table of hashes; a flood of paths evicts the oldest, which is then reported again.
 *
 * Relies on: SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) with a key from getrandom(2), so
 * that a guest cannot construct a path whose hash suppresses the report of another.
 *
 * Not handled: reports decide nothing. Their paths are those of that moment and may be stale.
 */
#define _GNU_SOURCE
#include "reports.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "lines.h"
#include "wall.h"

enum { SEEN_MAX = 4096 };

/* Separate budgets for each kind of report: a flood of one cannot suppress another. */
enum { OF_SECRETS, OF_EXECS, OF_REFUSALS, OF_REST, KINDS };
static const size_t levels[KINDS] = {OUT_BYTES_SECRETS, OUT_BYTES_EXECS, OUT_BYTES_REFUSALS, OUT_BYTES_REST};

/* Substring of a secret's path; one that ends with a path component must match a complete component. */
int is_secret(const char *path) {
  for (int i = 0; i < wall.secret_count; i++) {
    const char *part = wall.secrets[i];
    size_t length = strlen(part);
    int is_folder = strchr("/_-", part[length - 1]) != NULL;
    for (const char *at = strstr(path, part); at; at = strstr(at + 1, part))
      if (is_folder || !isalnum((unsigned char)at[length])) return 1;
  }
  return 0;
}

static int may_report(int kind) {
  static const double burst[KINDS] = {200, 500, 500, 1000}, a_second[KINDS] = {20, 50, 50, 100};
  static double spent[KINDS];
  static uint64_t last[KINDS];
  uint64_t now = now_ns();
  spent[kind] -= (double)(now - last[kind]) / 1e9 * a_second[kind];
  if (spent[kind] < 0) spent[kind] = 0;
  last[kind] = now;
  if (spent[kind] + 1 > burst[kind]) {
    wall.dropped_reports++;
    return 0;
  }
  spent[kind] += 1;
  return 1;
}

/* Returns true if reported. `wrote`: ctime of the executable, in milliseconds of
 * CLOCK_MONOTONIC; below 0 if unknown. */
int report_exec_time(pid_t pid, int call, int class, int is_denied, int writes, const char *path, double wrote) {
  int kind = path && is_secret(path) ? OF_SECRETS : is_denied ? OF_REFUSALS : class == EXEC ? OF_EXECS : OF_REST;
  if (!wall.reports || !may_report(kind)) return 0;
  char when[40] = "";
  if (wrote >= 0) snprintf(when, sizeof when, ",\"wrote\":%.3f", wrote);
  char shown[SHOWN_BYTES_MAX * 6 + 8] = "", line[LINE_BYTES_MAX];
  size_t length = path ? strlen(path) : 0;
  /* Truncates at the front: the end of a path is more informative. */
  if (path) quote(shown, sizeof shown, path + (length > SHOWN_BYTES_MAX ? length - SHOWN_BYTES_MAX : 0));
  int n = snprintf(line, sizeof line,
                   "{\"kind\":\"seen\",\"t\":%.3f,\"monotonic\":%.3f,\"pid\":%d,\"call\":%d,\"class\":\"%s\",\"verdict\":\"%s\","
                   "\"writes\":%s,\"leftOut\":%llu%s%s%s%s}\n",
                   (double)now_ns() / 1e6, (double)ns_of(CLOCK_MONOTONIC) / 1e6, pid, call, class_names[class], is_denied ? "denied" : "allowed",
                   writes ? "true" : "false", (unsigned long long)wall.dropped_reports, when, path ? ",\"path\":\"" : "", shown,
                   path ? "\"" : "");
  if (queue_line(levels[kind], line, n)) return 1;
  wall.dropped_reports++;
  return 0;
}

int report(pid_t pid, int call, int class, int is_denied, int writes, const char *path) {
  return report_exec_time(pid, call, class, is_denied, writes, path, -1);
}

static uint64_t rotated(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

static void sip_round(uint64_t v[4]) {
  v[0] += v[1], v[2] += v[3];
  v[1] = rotated(v[1], 13) ^ v[0], v[3] = rotated(v[3], 16) ^ v[2];
  v[0] = rotated(v[0], 32);
  v[2] += v[1], v[0] += v[3];
  v[1] = rotated(v[1], 17) ^ v[2], v[3] = rotated(v[3], 21) ^ v[0];
  v[2] = rotated(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012), keyed: without the key a guest cannot construct collisions that
 * would suppress a report. */
static uint64_t sip_hash(const uint64_t key[2], const char *text, size_t length) {
  uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                   key[1] ^ 0x7465646279746573u};
  size_t bytes = 8;
  for (size_t at = 0; bytes == 8; at += 8) {
    bytes = length - at < 8 ? length - at : 8;
    uint64_t word = bytes < 8 ? (uint64_t)length << 56 : 0;
    for (size_t i = 0; i < bytes; i++) word |= (uint64_t)(unsigned char)text[at + i] << 8 * i;
    v[3] ^= word;
    sip_round(v), sip_round(v);
    v[0] ^= word;
  }
  v[2] ^= 0xff;
  for (int i = 0; i < 4; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Deduplicates paths by a table of hashes; a flood evicts the oldest. */
static struct {
  uint64_t key[2][2], reported[SEEN_MAX];
} paths;

void draw_hash_keys(void) {
  if (getrandom(paths.key, sizeof paths.key, 0) != (ssize_t)sizeof paths.key) _exit(BAD_START);
}

uint64_t hash_of(const char *text, int writes) { return sip_hash(paths.key[writes != 0], text, strlen(text)); }
int is_reported(uint64_t hash) { return paths.reported[hash % SEEN_MAX] == hash; }
void mark_reported(uint64_t hash) { paths.reported[hash % SEEN_MAX] = hash; }

/* System folders read by every program at start. For reports only. */
int is_system_path(const char *path) {
  static const char *const usual[] = {"/usr/", "/lib/", "/lib64/", "/opt/mayfly/", "/etc/ld.so.cache"};
  if (strstr(path, "..")) return 0;
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
    if (!strncmp(path, usual[i], strlen(usual[i]))) return 1;
  return 0;
}

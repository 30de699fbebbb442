/*
 * Look-ups of host names, answered in place of a name server.
 *
 * Problem. A command has no route to a name server, so each look-up failed as a temporary error (EAI_AGAIN), which installers
 * retry for a minute; and nobody learned which name was asked for. Programs that do not read proxy variables could not reach an
 * allowed host.
 *
 * Mechanism. This process answers DNS on the loopback of the wall's network namespace, and /etc/resolv.conf names it. Without a
 * network no name exists (NXDOMAIN), and the name is reported with the program that asked. With one, each name gets an address of
 * 198.18.0.0/16 (RFC 2544: used in no network), and a connect to it becomes a tunnel to that name (tunnels.c). The egress proxy, not
 * this process, decides whether the name may be reached.
 *
 * Relies on the program having connected its socket before it asks, as glibc does, to be named in the report.
 *
 * Not handled: DNS over TCP, which programs use for long answers only.
 */
#define _GNU_SOURCE
#include "lookups.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "folder.h"
#include "reports.h"

enum {
  HEADER_BYTES = 12,
  QUESTION_BYTES_MAX = 512,
  ANSWER_BYTES = 16,
  LABEL_BYTES_MAX = 63,
  NAMES_MAX = 4096,
  PROGRAM_BYTES = 64,
  REPORTED_MAX = 20,
  /* Datagrams answered before the calls of the command get their turn. */
  TURN_MAX = 16,
  ASKERS_MAX = 64,
  SECONDS_VALID = 60,
  TYPE_A = 1,
  TYPE_AAAA = 28,
  CLASS_IN = 1,
  NO_SUCH_NAME = 3,
  SERVER_FAILED = 2,
  OWN_NET = 198 << 24 | 18 << 16,
};

struct question {
  char name[HOST_NAME_BYTES];
  unsigned type, class;
  /* Bytes of the header and of the question. */
  size_t end;
};

static struct {
  uint16_t port;
  char program[PROGRAM_BYTES];
} askers[ASKERS_MAX];
static unsigned next_asker;
static char names[NAMES_MAX][HOST_NAME_BYTES];
static unsigned name_count;
static int server = -1;

void open_lookups(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(NAME_SERVER_PORT)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  must(server >= 0 && bind(server, (struct sockaddr *)&at, sizeof at) == 0, "lookups");
}

int lookups_fd(void) { return server; }

/* ---- askers ---- */

static const char *without_folder(char *word) {
  word[strcspn(word, " ")] = 0;
  const char *slash = strrchr(word, '/');
  return slash ? slash + 1 : word;
}

static int runs_scripts(const char *program) {
  static const char *const list[] = {"python", "pypy", "node", "ruby", "perl"};
  for (size_t i = 0; i < sizeof list / sizeof *list; i++)
    if (!strncmp(program, list[i], strlen(list[i]))) return 1;
  return 0;
}

/* First word of a command line, without its folder, and the script or module of an interpreter: "python3 pip". Programs set the line
 * themselves: npm's is "npm install". */
static void read_program(pid_t pid, char *to, size_t room) {
  char path[64], line[512] = "";
  snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 2);
  if (fd >= 0) close(fd);
  char *end = line + (n > 0 ? n : 0), *next = line + strlen(line) + 1;
  const char *program = without_folder(line), *script = "";
  if (next < end && !strcmp(next, "-m")) next += sizeof "-m";
  if (next < end && *next != '-' && runs_scripts(program)) script = without_folder(next);
  snprintf(to, room, "%.*s%s%.*s", PROGRAM_BYTES / 2 - 1, program, *script ? " " : "", PROGRAM_BYTES / 2 - 1, script);
}

void note_asker(const struct seccomp_notif *request, int socket) {
  struct sockaddr_storage own = {0};
  socklen_t size = sizeof own;
  if (getsockname(socket, (struct sockaddr *)&own, &size)) return;
  /* The port is at the same place in both families. */
  askers[next_asker % ASKERS_MAX].port = ntohs(((struct sockaddr_in *)&own)->sin_port);
  read_program((pid_t)request->pid, askers[next_asker % ASKERS_MAX].program, sizeof askers[0].program);
  next_asker++;
}

static const char *asker_at(uint16_t port) {
  for (unsigned back = 1; back <= ASKERS_MAX && back <= next_asker; back++) {
    unsigned at = (next_asker - back) % ASKERS_MAX;
    if (askers[at].port == port) return askers[at].program;
  }
  return "";
}

/* ---- names ---- */

const char *name_of_address(uint32_t address) {
  uint32_t at = address - OWN_NET - 1;
  return at < name_count ? names[at] : NULL;
}

/* Address of a name, in host order; 0 if all are taken. */
static uint32_t address_of(const char *name) {
  unsigned at = 0;
  while (at < name_count && strcmp(names[at], name)) at++;
  if (at == NAMES_MAX) return 0;
  if (at == name_count) strcpy(names[name_count++], name);
  return (uint32_t)OWN_NET + at + 1;
}

static int ends_with(const char *name, const char *end) {
  size_t length = strlen(name), more = strlen(end);
  return length > more && !strcmp(name + length - more, end);
}

/* RFC 6761, and the host name of the wall. */
static int is_own(const char *name) {
  return !strcmp(name, "localhost") || !strcmp(name, "mayfly") || ends_with(name, ".localhost");
}

/* ---- messages ---- */

static unsigned number_at(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

/* Reads one label at `at` into the name. Returns the offset after it; 0 if it is malformed or no part of a host name. */
static size_t read_label(const uint8_t *text, size_t bytes, size_t at, char *name, size_t *length) {
  size_t count = text[at++];
  if (count > LABEL_BYTES_MAX || at + count >= bytes || *length + count + 2 > HOST_NAME_BYTES) return 0;
  if (*length > 0) name[(*length)++] = '.';
  for (size_t i = 0; i < count; i++) {
    int c = text[at + i];
    if (c >= 0x80 || (!isalnum(c) && c != '-' && c != '_')) return 0;
    name[(*length)++] = (char)tolower(c);
  }
  return at + count;
}

/* Reads the only question of a query. Returns 0 if it is none that a resolver of this system sends. */
static int read_question(const uint8_t *text, size_t bytes, struct question *to) {
  size_t at = HEADER_BYTES, length = 0;
  if (bytes <= HEADER_BYTES || text[2] & 0xf8 || number_at(text + 4) != 1) return 0;
  while (text[at] != 0)
    if (!(at = read_label(text, bytes, at, to->name, &length))) return 0;
  if (length == 0 || at + 5 > bytes) return 0;
  to->name[length] = 0;
  to->type = number_at(text + at + 1);
  to->class = number_at(text + at + 3);
  to->end = at + 5;
  return 1;
}

static void report_name(const struct question *asked, uint16_t port) {
  static int reported;
  int is_host = asked->type == TYPE_A || asked->type == TYPE_AAAA;
  if (is_host && !ends_with(asked->name, ".arpa") && reported < REPORTED_MAX)
    reported += report_host(asked->name, asker_at(port));
}

/* Code of the answer, and the address in it; 0 for none. */
static unsigned decide(const struct question *asked, uint16_t port, uint32_t *address) {
  *address = 0;
  if (asked->class != CLASS_IN || ends_with(asked->name, ".arpa")) return NO_SUCH_NAME;
  if (is_own(asked->name)) {
    *address = INADDR_LOOPBACK;
  } else if (options.egress_port) {
    *address = address_of(asked->name);
    if (!*address) return SERVER_FAILED;
  } else {
    report_name(asked, port);
    return NO_SUCH_NAME;
  }
  if (asked->type != TYPE_A) *address = 0;
  return 0;
}

/* Turns the query into its answer, in place. Returns its length. */
static size_t make_answer(uint8_t *text, const struct question *asked, unsigned code, uint32_t address) {
  const uint8_t record[ANSWER_BYTES] = {0xc0, HEADER_BYTES, 0, TYPE_A, 0, CLASS_IN, 0, 0, 0, SECONDS_VALID, 0, 4,
      (uint8_t)(address >> 24), (uint8_t)(address >> 16), (uint8_t)(address >> 8), (uint8_t)address};
  text[2] = 0x80 | (text[2] & 1);
  text[3] = (uint8_t)(0x80 | code);
  memset(text + 6, 0, HEADER_BYTES - 6);
  text[7] = address != 0;
  if (!address) return asked->end;
  memcpy(text + asked->end, record, sizeof record);
  return asked->end + sizeof record;
}

void answer_lookups(void) {
  for (int turn = 0; turn < TURN_MAX; turn++) {
    uint8_t text[QUESTION_BYTES_MAX + ANSWER_BYTES];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    struct question asked;
    uint32_t address;
    ssize_t n = recvfrom(server, text, QUESTION_BYTES_MAX, 0, (struct sockaddr *)&from, &size);
    if (n < 0) return;
    if (!read_question(text, (size_t)n, &asked)) continue;
    unsigned code = decide(&asked, ntohs(from.sin_port), &address);
    size_t bytes = make_answer(text, &asked, code, address);
    sendto(server, text, bytes, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&from, size);
  }
}

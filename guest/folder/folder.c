/*
 * A command in a folder of this machine, behind a wall of its own.
 *
 *   folder OPTION=VALUE... steps COUNT WORD... command COUNT WORD...
 *
 * Problem. The folder is the user's own, writable and shared with programs outside, and some names in it make those
 * programs run code: hooks of git, start-up files of shells, settings of editors and agents. They may not exist yet, and a
 * mount that covers a name is gone as soon as a program outside renames a file over it. So each call that depends on a path
 * is decided when it is made, by what the path leads to then.
 *
 * Mechanism. Three processes:
 * - `hold` stays outside: it relays the terminal and signals, keeps the time, and ends the wall (hold.c, terminal.c).
 * - `init` is process 1 of the wall's pid namespace. It builds the root by the steps of the launcher, starts the command in
 *   a user namespace below its own, and makes each call that names a file in its place (init.c, requests.c).
 * - the command and what it starts. Their calls are notified by seccomp before the kernel reads a path; none is continued.
 *
 *   requests.c  notifications, by call     judge.c    which paths a call may touch
 *   places.c    paths of a caller          opens.c    opens
 *   names.c     making, moving, removing   sockets.c  connects and binds
 *   reports.c   what was refused           command.c  user namespace, filters, exec
 *
 * Relies on seccomp_unotify(2) with ADDFD_FLAG_SEND (Linux 5.14), openat2(2), mount_setattr(2); the sentinel's caller.c. A
 * caller cannot reach `init`: signals to the first process of a namespace from inside it are ignored, it is not dumpable,
 * and its user namespace is the parent of theirs. When it ends, the kernel ends the wall.
 *
 * Not handled: calls by descriptors that are open already, which nothing but the mount they came through bounds.
 */
#define _GNU_SOURCE
#include "folder.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../launcher/steps.h"
#include "hold.h"
#include "judge.h"

enum { VARIABLES_BYTES_MAX = 4 << 20, VARIABLES_MAX = 8192 };

struct asked asked;

_Noreturn void cannot(const char *what) {
  step_name = what;
  fail("");
}

static void add_bind(const char *text) {
  errno = E2BIG;
  must(asked.bind_count < BINDS_MAX, "bind");
  struct bind *one = &asked.binds[asked.bind_count++];
  one->is_writable = text[0] == 'w';
  one->path = text + 2;
  one->length = strlen(one->path);
}

static const char *value_of_option(const char *word, const char *name) {
  size_t length = strlen(name);
  return strncmp(word, name, length) || word[length] != '=' ? NULL : word + length + 1;
}

static void take_option(const char *word) {
  const char *value;
  if ((value = value_of_option(word, "bind"))) add_bind(value);
  else if ((value = value_of_option(word, "rule"))) add_rule(value);
  else if ((value = value_of_option(word, "deny"))) add_denied(value);
  else if ((value = value_of_option(word, "lift"))) add_lifted(value);
  else if ((value = value_of_option(word, "asking"))) asked.asking = value;
  else if ((value = value_of_option(word, "fixed"))) asked.fixed = value;
  else if ((value = value_of_option(word, "folder"))) asked.folder = value;
  else if ((value = value_of_option(word, "terminals"))) asked.terminals = (int)number(value);
  else if ((value = value_of_option(word, "timeout"))) asked.timeout_ms = (uint64_t)number(value);
  else if ((value = value_of_option(word, "memory"))) asked.memory_bytes = (uint64_t)number(value);
  else if ((value = value_of_option(word, "processes"))) asked.processes = number(value);
  else if ((value = value_of_option(word, "uid"))) asked.uid = (uid_t)number(value);
  else if ((value = value_of_option(word, "gid"))) asked.gid = (gid_t)number(value);
  else if ((value = value_of_option(word, "egress"))) asked.egress_port = (int)number(value);
  else {
    errno = EINVAL;
    cannot(word);
  }
}

/* Words of a list: its name, their count, and they themselves. */
static char **take_list(char **word, char **end, const char *name, long *count) {
  errno = EINVAL;
  must(end - word >= 2 && !strcmp(word[0], name), name);
  *count = number(word[1]);
  errno = EINVAL;
  must(*count >= 1 && *count <= end - word - 2, name);
  return word + 2;
}

/* Variables come by a descriptor: a command line is readable for every user of the machine. */
static void take_variables(void) {
  static char *list[VARIABLES_MAX + 1];
  size_t have = 0;
  char *text = mmap(NULL, VARIABLES_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(text != MAP_FAILED, "variables");
  for (ssize_t n = 1; n != 0 && have < VARIABLES_BYTES_MAX - 1;) {
    n = read(VARIABLES_FD, text + have, VARIABLES_BYTES_MAX - 1 - have);
    must(n >= 0 || errno == EINTR, "variables");
    if (n > 0) have += (size_t)n;
  }
  close(VARIABLES_FD);
  errno = E2BIG;
  int count = 0;
  for (char *at = text; at < text + have; at += strlen(at) + 1) {
    must(count < VARIABLES_MAX, "variables");
    list[count++] = at;
  }
  asked.variables = list;
}

int main(int argc, char **argv) {
  char **word = argv + 1, **end = argv + argc;
  long count;
  step_name = "options";
  close(OWN_FD);
  for (; word < end && strcmp(*word, "steps"); word++) take_option(*word);
  asked.steps = take_list(word, end, "steps", &count);
  asked.step_words = (int)count;
  asked.command = take_list(asked.steps + count, end, "command", &count);
  errno = EINVAL;
  must(asked.command + count == end && asked.asking && asked.fixed && asked.folder, "words");
  take_variables();
  hold();
}

/*
 * Runs a command in a folder of the host, behind a wall of its own (`mayfly exec`).
 *
 *   folder OPTION=VALUE... steps COUNT WORD... command COUNT WORD...
 *
 * Problem. The folder is writable and shared with programs outside of the wall, and some names in it make those programs run
 * code: git hooks, start-up files of shells, settings of editors and agents. They may not exist yet, and a mount that covers
 * a name is lost as soon as a program outside renames a file over it. A check of the path before the kernel resolves it is a
 * race (TOCTOU): another thread can change the string, another process can swap a folder for a symbolic link.
 *
 * Mechanism. The kernel never resolves a path of the command. Each system call that names a file is a seccomp user
 * notification (SECCOMP_RET_USER_NOTIF); a supervisor copies and resolves the path once, to a descriptor, checks the rules
 * against that descriptor, and performs the call on it. No notification is answered with CONTINUE. Three processes:
 * - the monitor, outside of the wall: relays the terminal and signals, enforces the timeout, kills the wall (monitor.c,
 *   terminal.c).
 * - `init`, process 1 of the wall's PID namespace and the supervisor: builds the root by the steps of the launcher, starts the
 *   command in a child user namespace, performs the calls (init.c, requests.c).
 * - the command and its descendants.
 *
 *   requests.c  dispatch of notifications  judge.c    access rules for paths
 *   resolve.c   path resolution            opens.c    open, openat, openat2, creat
 *   names.c     mkdir, rename, unlink ...  sockets.c  connect and bind
 *   reports.c   reports of refusals        command.c  user namespace, filters, exec
 *   turn.c      turns of several walls     fifos.c    opens of pipes, which may wait
 *   lookups.c   answers to DNS             tunnels.c  connects through the egress proxy
 *   unkept.c    files left in memory        interrupts.c  signals of callers that wait
 *
 * Relies on seccomp_unotify(2) with ADDFD_FLAG_SEND (Linux 5.14), openat2(2), mount_setattr(2); the sentinel's caller.c. The
 * command cannot reach `init`: signals to process 1 from inside its namespace are ignored, it is not dumpable, and its user
 * namespace is the parent of the command's. When `init` exits, the kernel kills the wall.
 *
 * Not handled: calls on descriptors that are already open. Only the mount they were opened through limits those.
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
#include "monitor.h"
#include "judge.h"
#include "turn.h"

enum { VARIABLES_BYTES_MAX = 4 << 20, VARIABLES_MAX = 8192 };

struct options options;

_Noreturn void cannot(const char *step) {
  step_name = step;
  fail("");
}

static void add_bind(const char *text) {
  errno = E2BIG;
  must(options.bind_count < BINDS_MAX, "bind");
  struct bind *one = &options.binds[options.bind_count++];
  one->is_writable = text[0] == 'w';
  one->path = text + 2;
  one->length = strlen(one->path);
}

static const char *value_of_option(const char *word, const char *name) {
  size_t length = strlen(name);
  return strncmp(word, name, length) || word[length] != '=' ? NULL : word + length + 1;
}

static void parse_option(const char *word) {
  const char *value;
  if ((value = value_of_option(word, "bind"))) add_bind(value);
  else if ((value = value_of_option(word, "rule"))) add_rule(value);
  else if ((value = value_of_option(word, "deny"))) add_denied(value);
  else if ((value = value_of_option(word, "lift"))) add_readable_secret(value);
  else if ((value = value_of_option(word, "asking"))) options.notify_filter = value;
  else if ((value = value_of_option(word, "fixed"))) options.fixed_filter = value;
  else if ((value = value_of_option(word, "folder"))) options.folder = value;
  else if ((value = value_of_option(word, "terminals"))) options.terminals = (int)number(value);
  else if ((value = value_of_option(word, "timeout"))) options.timeout_ms = (uint64_t)number(value);
  else if ((value = value_of_option(word, "memory"))) options.memory_bytes = (uint64_t)number(value);
  else if ((value = value_of_option(word, "processes"))) options.processes = number(value);
  else if ((value = value_of_option(word, "uid"))) options.uid = (uid_t)number(value);
  else if ((value = value_of_option(word, "gid"))) options.gid = (gid_t)number(value);
  else if ((value = value_of_option(word, "egress"))) options.egress_port = (int)number(value);
  else {
    errno = EINVAL;
    cannot(word);
  }
}

/* Parses `NAME COUNT ARG...`; returns its first argument. */
static char **parse_list(char **word, char **end, const char *name, long *count) {
  errno = EINVAL;
  must(end - word >= 2 && !strcmp(word[0], name), name);
  *count = number(word[1]);
  errno = EINVAL;
  must(*count >= 1 && *count <= end - word - 2, name);
  return word + 2;
}

/* Environment variables arrive on a descriptor, because every user of the host can read the command line. */
static void read_variables(void) {
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
  options.variables = list;
}

int main(int argc, char **argv) {
  char **word = argv + 1, **end = argv + argc;
  long count;
  step_name = "options";
  open_turns();
  close(OWN_FD);
  for (; word < end && strcmp(*word, "steps"); word++) parse_option(*word);
  options.steps = parse_list(word, end, "steps", &count);
  options.step_argc = (int)count;
  options.command = parse_list(options.steps + count, end, "command", &count);
  errno = EINVAL;
  must(options.command + count == end && options.notify_filter && options.fixed_filter && options.folder, "words");
  read_variables();
  run_monitor();
}

/*
 * Inside the wall, before its filters: covers parts of /proc, then drops every capability.
 *
 * Problem: bubblewrap parses /proc/self/mountinfo again for each bind, so some 25 masks over files and folders of /proc take
 * more than half of the CPU time of a start (bind_mount() of bubblewrap 0.8 to 0.11).
 *
 * Mechanism: bubblewrap binds the first folder and the first file, and leaves CAP_SYS_ADMIN and CAP_SETPCAP of the wall's
 * own user namespace to its first program, which is this one: no user code has run yet. Each further mask is a bind
 * of the first one, which keeps its flags (read-only, nosuid, nodev). Then all capability sets are emptied, and
 * the filters, loaded next, refuse mount(2) and its relatives.
 *
 * Relies on: mount(2), of which a bind inherits the flags of the mount that it copies; capset(2), PR_CAPBSET_DROP and
 * PR_CAP_AMBIENT in prctl(2). bubblewrap's process 1 of the wall has dropped its own before.
 *
 * Not handled: names that this kernel lacks. The warden lists those that exist (src/jail/whole.ts). Any failure ends the
 * start.
 */
#define _GNU_SOURCE
#include "masks.h"
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "enter.h"

enum { MASKS_MAX = 64, CAPABILITIES_MAX = 64, CLOSED = ST_RDONLY | ST_NOSUID | ST_NODEV };

static _Noreturn void cannot_mask(const char *at) {
  char text[100];
  snprintf(text, sizeof text, "mask %.90s", at);
  cannot(text);
}

static void cover(const char *from, const char *at) {
  struct statvfs now;
  if (mount(from, at, NULL, MS_BIND, NULL) || statvfs(at, &now)) cannot_mask(at);
  errno = EPERM;
  if ((now.f_flag & CLOSED) != CLOSED) cannot_mask(at);
}

/* CAP_SETPCAP is needed for the bounding set, so capset(2) comes last. */
static void drop_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}}, left[2];
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)) cannot("clear ambient capabilities");
  for (unsigned long one = 0; one < CAPABILITIES_MAX; one++) {
    int has = prctl(PR_CAPBSET_READ, one, 0, 0, 0);
    if (has > 0 && prctl(PR_CAPBSET_DROP, one, 0, 0, 0)) cannot("empty the bounding set");
  }
  if (syscall(SYS_capset, &header, none)) cannot("drop capabilities");
  if (syscall(SYS_capget, &header, left)) cannot("read capabilities");
  errno = EPERM;
  if (memcmp(left, none, sizeof left)) cannot("drop every capability");
}

static int mask_count(char **argv) {
  int count = argv[1] ? atoi(argv[1]) : 0;
  errno = EINVAL;
  if (count < 1 || count > MASKS_MAX) cannot("count masks");
  for (int i = 0; i < count; i++)
    if (!argv[2 + i]) cannot("count masks");
  return count;
}

char **mask(char **argv) {
  int has_masks = 0;
  while (*argv && !strcmp(*argv, "mask")) {
    int count = mask_count(argv);
    for (int i = 1; i < count; i++) cover(argv[2], argv[2 + i]);
    argv += 2 + count;
    has_masks = 1;
  }
  if (has_masks) drop_capabilities();
  return argv;
}

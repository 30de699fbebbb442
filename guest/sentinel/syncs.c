/*
 * fsync and fdatasync: answered as the kernel would, without writing anything.
 *
 * Problem: what a wall may write is memory. A sync of a file of the system would have the host's disk write all it has, and
 * a filter that answers every sync with success tells a program that a descriptor is good which is not.
 *
 * Mechanism: the kind of the file behind the number decides: files, folders and disks can be synchronised, everything else
 * is EINVAL, no file is EBADF. Nothing is done to it, so that it does not matter if the number changes after the look.
 *
 * Relies on: /proc/PID/fd of a thread in proc(5), fsync(2).
 *
 * Not handled: descriptors by path alone (O_PATH), of which the kernel knows no sync.
 */
#define _GNU_SOURCE
#include "syncs.h"
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/stat.h>
#include "notify.h"

void answer_sync(const struct seccomp_notif *request) {
  struct stat facts;
  char name[64];
  snprintf(name, sizeof name, "/proc/%u/fd/%d", request->pid, (int)request->data.args[0]);
  int error = stat(name, &facts) == 0 ? 0 : errno == ENOENT ? -EBADF : -EACCES;
  if (!error && !S_ISREG(facts.st_mode) && !S_ISDIR(facts.st_mode) && !S_ISBLK(facts.st_mode)) error = -EINVAL;
  send_answer(request->id, 0, error == -EACCES ? 0 : error, 0);
}

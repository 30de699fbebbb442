/*
 * fsync and fdatasync: answered as the kernel would, without writing anything.
 *
 * Problem: the writable files of a wall are in memory. A sync of a system file would make the host flush its disk, and a
 * filter that reports success for every sync would hide an invalid descriptor.
 *
 * Mechanism: the answer depends on the type of the file: success for files, folders and disks, EINVAL for other types, EBADF
 * if there is none. No operation follows, so a descriptor that is replaced afterwards does no harm.
 *
 * Relies on: /proc/PID/fd of a thread in proc(5), fsync(2).
 *
 * Not handled: O_PATH descriptors, on which the kernel supports no sync.
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

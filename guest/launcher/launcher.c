/*
 * The launcher: executes the steps of a jail, and then the jailed program (exec).
 *
 *   launcher STEP COUNT ARG... [STEP COUNT ARG...]... exec COUNT PATH ARGV0 [ARG...]
 *
 * Problem. A jail is built in a fixed order: control groups, user, namespaces, mounts, limits, capabilities, Landlock,
 * seccomp. With system tools (sh, setpriv, unshare, mount, mkdir) and a Node that calls libc, each wall starts up to ten
 * programs, which cost more than the wall itself.
 *
 * Mechanism. Each step is one or a few system calls (steps.c), named on the command line by the warden and executed in
 * that order. Nothing is read from a file, from the environment or from standard input.
 *
 * Not handled: the choice of steps (src/jail), limits of control groups (the warden), the end of the wall.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/stat.h>
#include "steps.h"

int main(int argc, char **argv) {
  umask(022);
  carry_out(argv + 1, argc - 1);
  step_name = "exec";
  errno = EINVAL;
  fail("is missing");
}

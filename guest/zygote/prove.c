/*
 * Self-test of the wall, from inside: each forked program runs it after the last layer, before it signals readiness.
 *
 * Problem. A forked program began outside of its wall; no later step would fail if a layer were missing.
 *
 * Mechanism. Checks credentials, capabilities and no_new_privs of this process, then makes system calls that the fixed filter
 * refuses, with arguments for which the kernel would return another errno: EPERM and ENOSYS come from the filter (the same
 * calls as `probeFilter` of src/os/libc.js in a runner of Node). The warden checks namespaces, groups and credentials from
 * outside as well.
 */
#define _GNU_SOURCE
#include "prove.h"
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../launcher/steps.h"

static const struct {
  const char *name;
  long number, arg[6];
} forbidden[] = {
    {"ptrace", SYS_ptrace, {99}},
    {"process_vm_readv", SYS_process_vm_readv, {-1, 0, 0, 0, 0, 99}},
    {"bpf", SYS_bpf, {99}},
    {"unshare", SYS_unshare, {(long)0x80000000}},
    {"setns", SYS_setns, {-1}},
    {"mount", SYS_mount, {0}},
    {"umount2", SYS_umount2, {0}},
    {"pivot_root", SYS_pivot_root, {0}},
    {"chroot", SYS_chroot, {0}},
    {"open_tree", SYS_open_tree, {-1}},
    {"move_mount", SYS_move_mount, {-1, 0, -1}},
    {"open_by_handle_at", SYS_open_by_handle_at, {-1}},
    {"keyctl", SYS_keyctl, {99}},
    {"add_key", SYS_add_key, {0}},
    {"io_uring_setup", SYS_io_uring_setup, {0}},
    {"userfaultfd", SYS_userfaultfd, {-1}},
    {"perf_event_open", SYS_perf_event_open, {0, 0, -1, -1}},
    {"memfd_create", SYS_memfd_create, {0, 0}},
    {"pidfd_getfd", SYS_pidfd_getfd, {-1, -1}},
    {"fanotify_init", SYS_fanotify_init, {-1}},
    {"init_module", SYS_init_module, {0}},
    {"personality", SYS_personality, {0x0040000}},
    {"socket", SYS_socket, {AF_PACKET, 99}},
    {"clone", SYS_clone, {0x10000800}},
};

static void check_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}}, left[2];
  must(syscall(SYS_capget, &header, left) == 0, "capabilities");
  errno = EPERM;
  must(!memcmp(left, none, sizeof left), "capabilities");
  must(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0, "bounding set");
}

void prove(void) {
  step_name = "proof";
  errno = EPERM;
  must(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "new privileges");
  must(getuid() != 0 && geteuid() == getuid() && getegid() == getgid() && getgid() != 0, "user");
  check_capabilities();
  for (size_t k = 0; k < sizeof forbidden / sizeof *forbidden; k++) {
    const long *arg = forbidden[k].arg;
    errno = 0;
    long answer = syscall(forbidden[k].number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
    if (answer < 0 && (errno == EPERM || errno == ENOSYS)) continue;
    errno = EPERM;
    fail(forbidden[k].name);
  }
}

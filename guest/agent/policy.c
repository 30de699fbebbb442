/*
 * Problem: a phase removes rights from running programs. The next use of a file, program or socket must be refused without their
 * cooperation, and before the phase is reported as closed.
 *
 * Mechanism: AppArmor. The host compiles a profile of the remaining rights; the agent does not parse it. The first one is in the
 * initrd, and confines the runner from its exec on (guest/carrier) and all its descendants; it has no rule that permits a change of
 * profile. A later profile of the same name replaces it, and the kernel applies it at once to every confined process: to open
 * sockets too, but not to open files. The result is verified by the digest of the loaded profile, and by the profile of each process
 * of the job's cgroup.
 *
 * Relies on: AppArmor in the kernel, with digests of loaded profiles (CONFIG_SECURITY_APPARMOR_EXPORT_BINARY), as in Debian's.
 * securityfs is mounted in the initrd, where programs cannot reach it.
 *
 * Not handled: open files (phases.c closes those open for writing) and their mappings. A program that compromised the kernel.
 */
#define _GNU_SOURCE
#include "policy.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "group.h"
#include "processes.h"
#include "sha256.h"
#include "wire.h"

enum { DIGEST_CHARACTERS = 2 * SHA256_BYTES, CLOSED_MOUNT = MS_NOSUID | MS_NODEV | MS_NOEXEC };
/* The kernel numbers profiles in the order of their first load; this one is the only one, so it has number 0. */
#define DIGEST_FILE "policy/profiles/" JOB_PROFILE ".0/raw_sha256"

/* AppArmor folder of securityfs; -1 without a profile. */
static int interface = -1;
/* Classes closed so far. A copy of this guest keeps them, even if its host does not know them. */
static uint8_t closed;

/* A profile must be loaded by one write. */
static int load(int folder, const uint8_t *bytes, size_t length) {
  int fd = openat(folder, ".replace", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ssize_t n = write(fd, bytes, length);
  int error = n < 0 ? errno : (size_t)n == length ? 0 : EIO;
  close(fd);
  return error;
}

/* SHA-256 of the loaded profile, in hexadecimal; empty if there is none. */
static void read_digest(char to[DIGEST_CHARACTERS + 1]) {
  int fd = openat(interface, DIGEST_FILE, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, to, DIGEST_CHARACTERS);
  if (fd >= 0) close(fd);
  to[n == DIGEST_CHARACTERS ? n : 0] = 0;
}

static int is_loaded(const uint8_t *bytes, size_t length) {
  uint8_t digest[SHA256_BYTES];
  char wanted[DIGEST_CHARACTERS + 1], has[DIGEST_CHARACTERS + 1];
  struct sha256 hash;
  sha256_begin(&hash);
  sha256_add(&hash, bytes, length);
  sha256_end(&hash, digest);
  for (int i = 0; i < SHA256_BYTES; i++) snprintf(wanted + 2 * i, 3, "%02x", digest[i]);
  read_digest(has);
  return !strcmp(wanted, has);
}

/* EACCES for a process that the profile does not confine. */
static int check_profile(pid_t pid) {
  char text[sizeof JOB_PROFILE + 16];
  if (!read_profile(pid, text, sizeof text)) return ESRCH;
  return strcmp(text, JOB_PROFILE " (enforce)") ? EACCES : 0;
}

static int replace(const uint8_t *bytes, size_t length) {
  if (interface < 0) return ENOSYS;
  int error = load(interface, bytes, length);
  if (!error && !is_loaded(bytes, length)) error = EIO;
  return error ? error : for_members(check_profile);
}

int replace_policy(uint8_t closes, const uint8_t *bytes, size_t length) {
  if (closed & ~closes) return EPERM;
  int error = replace(bytes, length);
  if (!error) closed = closes;
  return error;
}

void open_policy(void) {
  static uint8_t first[POLICY_BYTES_MAX];
  int fd = open(FIRST_POLICY, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  ssize_t bytes = fd < 0 ? 0 : read(fd, first, sizeof first);
  if (fd >= 0) close(fd);
  if (bytes <= 0 || mount("securityfs", SECURITY_FOLDER, "securityfs", CLOSED_MOUNT, NULL) < 0) return;
  interface = open(SECURITY_FOLDER "/apparmor", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (interface < 0 || replace(first, (size_t)bytes) == 0) return;
  close(interface);
  interface = -1;
}

int has_policy(void) { return interface >= 0; }

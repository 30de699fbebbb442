/*
 * Problem: clones of one template have the same random numbers, clock, name and ids.
 *
 * Mechanism: the host sends a seed. It is added to the kernel's random generator with entropy credit, which is then reseeded; the
 * machine id is derived from its hash. All steps are tried, and the answer contains the errno of each; the host decides whether a
 * failed step matters. The seed is wiped (channel.c wipes the frame).
 *
 * A copy of a claimed guest is claimed again while its programs are frozen: its identity files are mounted over those of the original
 * (identity.c), with a new boot id. Limits are only lowered.
 *
 * Files are written only on an overlay or a tmpfs, so that an agent started by mistake on a real machine changes none of its files.
 *
 * Not handled: random state that a process created before the claim (Math.random of a warm runtime), which the runner renews.
 */
#define _GNU_SOURCE
#include "claim.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "group.h"
#include "identity.h"
#include "processes.h"
#include "programs.h"
#include "sha256.h"
#include "watch.h"

static int is_claimed, is_copy;

enum { BOOT_ID_BYTES = 36, LABEL_BYTES_MAX = 256, LABELS_BYTES_MAX = LABELS_MAX * (ID_BYTES_MAX + LABEL_BYTES_MAX + 2) };

struct claim {
  const char *id, *hostname;
  const uint8_t *seed;
  size_t seed_bytes;
  uint64_t time_ns, limits[LIMITS], memory;
  char labels[LABELS_BYTES_MAX + 1];
};

static int is_word(const char *text) {
  for (; *text; text++)
    if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-", *text)) return 0;
  return 1;
}

static int is_line(const char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < ' ' || *text == 127) return 0;
  return 1;
}

/* ---- steps: 0 or an errno ---- */

static int with_generator(unsigned long request, void *given) {
  int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno;
  int error = ioctl(fd, request, given) < 0 ? errno : 0;
  close(fd);
  return error;
}

static int add_entropy(const uint8_t *seed, size_t bytes) {
  struct {
    struct rand_pool_info info;
    uint8_t bytes[SEED_BYTES_MAX];
  } given;
  given.info.entropy_count = (int)bytes * 8;
  given.info.buf_size = (int)bytes;
  memcpy(given.bytes, seed, bytes);
  int error = with_generator(RNDADDENTROPY, &given);
  explicit_bzero(&given, sizeof given);
  return error;
}

static int set_clock(uint64_t ns) {
  struct timespec to = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  return clock_settime(CLOCK_REALTIME, &to) < 0 ? errno : 0;
}

static int is_own(int fd) {
  struct statfs fs;
  if (fstatfs(fd, &fs) < 0) return 0;
  return fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

static int write_whole(int fd, const char *text) {
  struct stat is;
  size_t length = strlen(text);
  if (fstat(fd, &is) < 0) return errno;
  if (!S_ISREG(is.st_mode) || !is_own(fd)) return EROFS;
  if (ftruncate(fd, 0) < 0) return errno;
  ssize_t n = write(fd, text, length);
  return n < 0 ? errno : (size_t)n == length ? 0 : ENOSPC;
}

static int write_file(const char *folder, const char *name, const char *text) {
  int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (at < 0) return errno;
  int fd = is_own(at) ? openat(at, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0444) : -1;
  int error = fd >= 0 ? write_whole(fd, text) : is_own(at) ? errno : EROFS;
  if (fd >= 0) close(fd);
  close(at);
  return error;
}

static int write_machine_id(const struct claim *claim) {
  static const char use[] = "mayfly machine-id";
  uint8_t digest[SHA256_BYTES];
  char text[34];
  struct sha256 hash;
  sha256_begin(&hash);
  sha256_add(&hash, use, sizeof use);
  sha256_add(&hash, claim->seed, claim->seed_bytes);
  sha256_end(&hash, digest);
  for (int i = 0; i < 16; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
  memcpy(text + 32, "\n", 2);
  return is_copy ? put_over("machine-id", text, "/etc/machine-id") : write_file("/etc", "machine-id", text);
}

static int write_labels(const struct claim *claim) {
  if (is_copy) {
    int error = put_over("id", claim->id, "/run/mayfly/id");
    return error ? error : put_over("labels", claim->labels, "/run/mayfly/labels");
  }
  mkdir("/run/mayfly", 0755);
  int error = write_file("/run/mayfly", "id", claim->id);
  return error ? error : write_file("/run/mayfly", "labels", claim->labels);
}

static int set_limit(const struct claim *claim, int which) {
  uint32_t touched;
  if (claim->limits[which] == UINT64_MAX) return 0;
  return lower_limit(which, claim->limits[which], &touched);
}

/* ---- frame ---- */

static void put_step(uint8_t step, int error) {
  put_u8(step);
  put_u16((uint16_t)error);
}

/* Empty if /proc is missing; the hash then covers an empty id. */
static void read_boot_id(char to[BOOT_ID_BYTES + 1]) {
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, to, BOOT_ID_BYTES);
  to[n == BOOT_ID_BYTES ? n : 0] = 0;
  if (fd >= 0) close(fd);
}

static void carry_out(const struct claim *claim) {
  uint8_t digest[SHA256_BYTES];
  char boot_id[BOOT_ID_BYTES + 1];
  struct sha256 hash;
  /* First, because the kernel generates the boot id at its first read, and until here the generator equals the template's. */
  int entropy = add_entropy(claim->seed, claim->seed_bytes), reseed = with_generator(RNDRESEEDCRNG, NULL);
  int renewed = is_copy ? renew_boot_id() : 0, written = write_machine_id(claim);
  read_boot_id(boot_id);
  sha256_begin(&hash);
  sha256_add(&hash, claim->seed, claim->seed_bytes);
  sha256_add(&hash, boot_id, strlen(boot_id));
  sha256_end(&hash, digest);
  begin(CLAIMED);
  put_bytes(digest, sizeof digest);
  put_text(boot_id);
  put_u8(STEP_LIMIT - 1 + LIMITS);
  put_step(STEP_ENTROPY, entropy);
  put_step(STEP_RESEED, reseed);
  put_step(STEP_CLOCK, set_clock(claim->time_ns));
  put_step(STEP_HOSTNAME, sethostname(claim->hostname, strlen(claim->hostname)) < 0 ? errno : 0);
  put_step(STEP_MACHINE_ID, renewed ? renewed : written);
  put_step(STEP_LABELS, write_labels(claim));
  put_step(STEP_MEMORY, claim->memory == UINT64_MAX ? 0 : limit_memory(claim->memory));
  for (int i = 0; i < LIMITS; i++) put_step((uint8_t)(STEP_LIMIT + i), set_limit(claim, i));
  finish();
}

static void take_labels(struct reader *from, struct claim *claim) {
  int count = take_u8(from), ok = count <= LABELS_MAX;
  size_t at = 0;
  claim->labels[0] = 0;
  for (int i = 0; i < count && ok && !from->bad; i++) {
    const char *key = take_text(from, 1, ID_BYTES_MAX);
    const char *value = take_text(from, 0, LABEL_BYTES_MAX);
    ok = is_word(key) && is_line(value);
    if (ok) at += (size_t)snprintf(claim->labels + at, sizeof claim->labels - at, "%s=%s\n", key, value);
  }
  if (!ok) from->bad = 1;
}

void take_claim(struct reader *from) {
  static struct claim claim;
  claim.id = take_text(from, 1, ID_BYTES_MAX);
  claim.seed = take_bytes(from, SEED_BYTES_MIN, SEED_BYTES_MAX, &claim.seed_bytes);
  claim.time_ns = take_u64(from);
  for (int i = 0; i < LIMITS; i++) claim.limits[i] = take_u64(from);
  claim.memory = take_u64(from);
  claim.hostname = take_text(from, 1, ID_BYTES_MAX);
  take_labels(from, &claim);
  if (!is_whole(from) || !is_word(claim.id) || !is_word(claim.hostname)) end_agent(BAD_PAYLOAD);
  if (is_claimed && !(is_held && has_identity())) return refuse(CLAIM, 0, STAGE_CHECK, EALREADY);
  is_copy = is_claimed;
  if (is_copy) forget_watch();
  is_claimed = 1;
  keep_host();
  carry_out(&claim);
}

/*
 * Warm-up of a parked clone: runs the other steps of a claim once, with names that the claim replaces, because an emulator executes
 * new code slowly. Errors are ignored; the claim repeats all steps.
 */
static void rehearse(const uint8_t *seed, size_t seed_bytes) {
  static struct claim claim = {.id = "waiting", .hostname = "waiting"};
  char boot_id[BOOT_ID_BYTES + 1];
  uint32_t touched;
  claim.seed = seed;
  claim.seed_bytes = seed_bytes;
  read_boot_id(boot_id);
  if (sethostname(claim.hostname, strlen(claim.hostname)) < 0 || write_machine_id(&claim) || write_labels(&claim)) return;
  for (int i = 0; i < LIMITS; i++) lower_limits(limit_numbers[i], UINT64_MAX, &touched);
}

void take_renew(struct reader *from) {
  size_t seed_bytes;
  uint32_t nonce = take_u32(from);
  const uint8_t *seed = take_bytes(from, SEED_BYTES_MIN, SEED_BYTES_MAX, &seed_bytes);
  uint64_t time_ns = take_u64(from);
  if (!is_whole(from)) end_agent(BAD_PAYLOAD);
  int entropy = add_entropy(seed, seed_bytes), reseed = with_generator(RNDRESEEDCRNG, NULL);
  int clock = set_clock(time_ns);
  if (!is_claimed) rehearse(seed, seed_bytes);
  begin(RENEWED);
  put_u32(nonce);
  put_u16((uint16_t)entropy);
  put_u16((uint16_t)reseed);
  put_u16((uint16_t)clock);
  finish();
}

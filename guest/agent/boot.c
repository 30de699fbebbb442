/*
 * Problem: the kernel starts the agent as /init in an initrd with few other files. Programs need the image, writable folders and
 * devices; the host needs the cause of a failed boot.
 *
 * Mechanism: a fixed list of steps. The channel is opened first, or after the modules if its driver is a module, so that the code of
 * a later failed step reaches the host as `lost`; the errno is in the kernel's log. The image is read-only, below an overlay in
 * memory. Programs get their own /dev with a fixed list of nodes: the kernel's devtmpfs, which has the disk and the channel, stays in
 * the initrd, which is unreachable once the new root covers it. /sys is read-only. Each tmpfs has a size limit.
 *
 * Relies on: Linux 6.6 (kernel.io_uring_disabled; decompression of modules in the kernel, 5.17), a port (ports.c), modules of the
 * same kernel in /modules with their order in the file `order`, and a host that connects before the deadline.
 *
 * Not handled: a boot without /proc, /sys, /dev or its port has no channel: the machine powers off without a `hello`. The files of
 * the initrd stay in memory, about 1.2 MB.
 */
#define _GNU_SOURCE
#include "boot.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/module.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "channel.h"
#include "group.h"
#include "identity.h"
#include "overlay.h"
#include "policy.h"
#include "ports.h"
#include "programs.h"
#include "watch.h"
#include "zones.h"

enum { PORTS_GIVEN_MAX = 4, WAIT_NS = 10000000, WAITS_MAX = 6000, HOST_MS_MAX = 60000, ORDER_BYTES_MAX = 1024 };
enum { CLOSED = MS_NOSUID | MS_NODEV | MS_NOEXEC, SAFE = MS_NOSUID | MS_NODEV };

static _Noreturn void fail(int code, const char *step) {
  char line[160];
  int error = errno;
  int length = snprintf(line, sizeof line, "<3>mayfly: boot: %.100s: errno %d\n", step, error);
  int log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NONBLOCK);
  if (log >= 0 && write(log, line, (size_t)length) < 0) close(log);
  end_agent(code);
}

static void put(const char *type, const char *at, unsigned long flags, const char *options, int code) {
  if (mount(type, at, type, flags, options) < 0) fail(code, at);
}

static void wait_a_little(void) {
  const struct timespec pause = {0, WAIT_NS};
  nanosleep(&pause, NULL);
}

/* ---- channel ---- */

/* Reads a short file; returns its length without a final newline, or 0. */
static size_t read_line(const char *path, char *to, size_t bytes_max) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, to, bytes_max);
  if (fd >= 0) close(fd);
  if (n > 0 && to[n - 1] == '\n') n--;
  to[n > 0 ? n : 0] = 0;
  return n > 0 ? (size_t)n : 0;
}

/* Additional ports for programs: a descriptor name, and the name of the port. */
static struct {
  const char *name, *port;
} ports[PORTS_GIVEN_MAX];
static int port_count;
static const char *scratch;

/* Parses `scratch=BYTES`, a size as in tmpfs(5). */
static int take_scratch(const char *size) {
  size_t digits = strspn(size, "0123456789");
  if (digits == 0 || digits > 12 || size[digits]) return 0;
  scratch = size;
  return 1;
}

int take_boot_option(char *option) {
  if (!strcmp(option, "restart")) return restarts = 1;
  if (!strncmp(option, "scratch=", 8)) return take_scratch(option + 8);
  if (strncmp(option, "port=", 5) || port_count == PORTS_GIVEN_MAX) return 0;
  char *port = strchr(option + 5, '=');
  if (!port) return 0;
  *port = 0;
  ports[port_count].name = option + 5;
  ports[port_count++].port = port + 1;
  return 1;
}

/* True once the host has opened the port; before that it polls like one that the host has closed. */
static int has_host(int fd) {
  struct pollfd on = {.fd = fd, .events = POLLOUT};
  return poll(&on, 1, 0) >= 0 && !(on.revents & POLLHUP);
}

static int wait_for_port(const char *name) {
  int fd = -1;
  for (int waits = 0; waits < WAITS_MAX; waits++) {
    if (fd < 0) fd = open_port(name);
    if (fd >= 0 && (is_vsock(name) || has_host(fd))) return fd;
    wait_a_little();
  }
  return -1;
}

static void open_agent_port(const char *name) {
  if (!open_channel(wait_for_port(name)) || !await_host(HOST_MS_MAX)) fail(BOOT_CHANNEL, "channel");
}

static void open_ports(void) {
  for (int i = 0; i < port_count; i++) {
    int fd = -1;
    for (int waits = 0; fd < 0 && waits < WAITS_MAX; waits++) {
      fd = open_port(ports[i].port);
      if (fd < 0) wait_a_little();
    }
    if (fd < 0 || !add_descriptor(ports[i].name, fd)) fail(BOOT_CHANNEL, ports[i].port);
  }
}

/* ---- modules ---- */

static void load_module(const char *name) {
  char path[128];
  snprintf(path, sizeof path, "/modules/%.100s", name);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) fail(BOOT_MODULES, name);
  const char *ending = strrchr(name, '.');
  int flags = ending && !strcmp(ending, ".ko") ? 0 : MODULE_INIT_COMPRESSED_FILE;
  if (syscall(SYS_finit_module, fd, "", flags) < 0 && errno != EEXIST) fail(BOOT_MODULES, name);
  close(fd);
}

static void load_modules(void) {
  static char order[ORDER_BYTES_MAX + 1];
  if (read_line("/modules/order", order, ORDER_BYTES_MAX) == 0) fail(BOOT_MODULES, "order");
  char *rest = order;
  for (char *name; (name = strsep(&rest, "\n"));) load_module(name);
}

/* ---- root ---- */

static void mount_image(const char *disk) {
  if (mount(disk, "/image", "erofs", MS_RDONLY | SAFE, NULL) < 0) fail(BOOT_IMAGE, disk);
}

/* Mount options of a tmpfs: the configured scratch size, or by default a share of memory. */
static const char *sized(const char *rest, const char *share) {
  static char options[96];
  snprintf(options, sizeof options, "%s,size=%s", rest, scratch ? scratch : share);
  return options;
}

/* Options of overlayfs; files of the initrd are a layer above the image. */
static const char *layers(void) {
  return access("/runner", F_OK) == 0 ? "lowerdir=/runner:/image,upperdir=/overlay/upper,workdir=/overlay/work"
                                      : "lowerdir=/image,upperdir=/overlay/upper,workdir=/overlay/work";
}

static void mount_overlay(void) {
  put("tmpfs", "/overlay", SAFE, sized("mode=0755,nr_inodes=200k", "50%"), BOOT_OVERLAY);
  if (mkdir("/overlay/upper", 0755) < 0 || mkdir("/overlay/work", 0755) < 0) fail(BOOT_OVERLAY, "folders");
  put("overlay", "/root", SAFE, layers(), BOOT_OVERLAY);
  if (!open_overlay("/overlay/upper")) fail(BOOT_OVERLAY, "list");
}

static void make_node(const char *path, unsigned major, unsigned minor) {
  if (mknod(path, S_IFCHR | 0666, makedev(major, minor)) < 0 || chmod(path, 0666) < 0) fail(BOOT_DEVICES, path);
}

static void make_link(const char *path, const char *target) {
  if (symlink(target, path) < 0) fail(BOOT_DEVICES, path);
}

static void make_devices(void) {
  put("tmpfs", "/root/dev", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64", BOOT_DEVICES);
  make_node("/root/dev/null", 1, 3);
  make_node("/root/dev/zero", 1, 5);
  make_node("/root/dev/full", 1, 7);
  make_node("/root/dev/random", 1, 8);
  make_node("/root/dev/urandom", 1, 9);
  make_node("/root/dev/tty", 5, 0);
  make_link("/root/dev/fd", "/proc/self/fd");
  make_link("/root/dev/stdin", "/proc/self/fd/0");
  make_link("/root/dev/stdout", "/proc/self/fd/1");
  make_link("/root/dev/stderr", "/proc/self/fd/2");
  make_link("/root/dev/ptmx", "pts/ptmx");
  if (mkdir("/root/dev/pts", 0755) < 0 || mkdir("/root/dev/shm", 0755) < 0) fail(BOOT_DEVICES, "folders");
  put("devpts", "/root/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666,max=16", BOOT_DEVICES);
  put("tmpfs", "/root/dev/shm", CLOSED, sized("mode=1777,nr_inodes=20k", "10%"), BOOT_DEVICES);
}

static void make_root(void) {
  put("tmpfs", "/root/tmp", SAFE, sized("mode=1777,nr_inodes=100k", "25%"), BOOT_ROOT);
  put("tmpfs", "/root/run", SAFE, "mode=0755,size=10%,nr_inodes=20k", BOOT_ROOT);
  if (mkdir("/root" RESULT_FOLDER, 0755) < 0) fail(BOOT_ROOT, RESULT_FOLDER);
  put("tmpfs", "/root" RESULT_FOLDER, CLOSED, sized("mode=1777,nr_inodes=64", "25%"), BOOT_ROOT);
  if (chmod("/root/work", 01777) < 0 && errno != ENOENT) fail(BOOT_ROOT, "/work");
  if (mount("/proc", "/root/proc", NULL, MS_MOVE, NULL) < 0) fail(BOOT_ROOT, "/proc");
  if (mount("/sys", "/root/sys", NULL, MS_MOVE, NULL) < 0) fail(BOOT_ROOT, "/sys");
  if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0) fail(BOOT_ROOT, "/");
  if (chroot(".") < 0 || chdir("/") < 0) fail(BOOT_ROOT, "chroot");
}

/* ---- settings ---- */

/* Writes a sysctl; ignored if the kernel lacks the feature. */
static void set(const char *file, const char *digit) {
  int fd = open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return;
  if (fd < 0 || write(fd, digit, 1) != 1) fail(BOOT_SETTINGS, file);
  close(fd);
}

/*
 * io_uring bypasses seccomp, and is the largest new source of kernel vulnerabilities. A user namespace gives a program the
 * capabilities by which most kernel vulnerabilities are reachable, and mounts of its own that no phase would close. TIOCSTI lets a
 * program push input into its controlling terminal, which the shell there executes later (CVE-2016-2568; a sysctl since Linux 6.2).
 * TIOCSETD would load drivers of line disciplines (CVE-2017-2636).
 */
static void close_ways(void) {
  set("/proc/sys/dev/tty/legacy_tiocsti", "0");
  set("/proc/sys/dev/tty/ldisc_autoload", "0");
  set("/proc/sys/kernel/unprivileged_bpf_disabled", "1");
  set("/proc/sys/kernel/io_uring_disabled", "2");
  set("/proc/sys/user/max_user_namespaces", "0");
}

static void raise_loopback(void) {
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0) fail(BOOT_SETTINGS, "lo");
  close(fd);
}

/* Opens descriptors 0 to 2 if the kernel did not (no /dev/console in the initrd), so that the channel becomes none of them. */
static void fill_streams(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd < 2);
  if (fd > 2) close(fd);
}

void boot(const char *port, const char *disk) {
  powers_off = 1;
  umask(022);
  put("devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, NULL, BOOT_MOUNTS);
  fill_streams();
  put("proc", "/proc", CLOSED, NULL, BOOT_MOUNTS);
  put("sysfs", "/sys", CLOSED | MS_RDONLY, NULL, BOOT_MOUNTS);
  if (is_vsock(port)) load_modules();
  open_agent_port(port);
  open_ports();
  if (!is_vsock(port)) load_modules();
  close_ways();
  raise_loopback();
  if (!open_group()) fail(BOOT_SETTINGS, GROUPS_FOLDER);
  if (!open_identity()) fail(BOOT_SETTINGS, IDENTITY_FOLDER);
  open_policy();
  open_watch();
  mount_image(disk);
  mount_overlay();
  make_devices();
  make_root();
  open_scratch();
  watch_places();
  open_zones();
}

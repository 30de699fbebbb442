/*
 * Memory of the wall's processes, copied for evidence.
 *
 * Problem: copying gigabytes must not delay phases, and a program may hide memory by mprotect(2): pages that it wrote and
 * then made unreadable or read-only.
 *
 * Mechanism: a forked child makes the copy. It opens maps, mem and pagemap of a process, and then checks that the process
 * is in the wall's PID namespace, since this uid may have other processes. PAGEMAP_SCAN lists the pages that were ever
 * written, regardless of their current protection; pages of zeros are skipped. Reading /proc/PID/mem disregards
 * protections.
 *
 * Relies on: PAGEMAP_SCAN (Linux 6.7); without it readable and writable areas are copied whole. proc(5) on
 * /proc/PID/mem.
 *
 * Not handled: consistency. The warden freezes the wall before it asks for a copy.
 */
#define _GNU_SOURCE
#include "capture.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "caller.h"
#include "control.h"
#include "lines.h"
#include "members.h"
#include "wall.h"

enum { CAPTURED_MAX = 64 };

static void write_all(const void *from, size_t bytes) {
  const char *at = from;
  for (ssize_t n; bytes > 0; at += n, bytes -= (size_t)n) {
    n = write(CAPTURE_FD, at, bytes);
    if (n < 0 && errno == EINTR) n = 0;
    else if (n <= 0) _exit(1);
  }
}

/* True for the wall's own PID namespace: this process could read others of its uid. */
static int is_of_wall(pid_t pid) {
  if (wall.is_kept) return is_member(pid);
  ino_t theirs = pid_namespace_of(pid);
  return wall.pid_namespace != 0 && theirs == wall.pid_namespace;
}

/* Linux 6.7 and later (PAGEMAP_SCAN); missing in older headers. */
struct region {
  uint64_t from, to, kinds;
};
struct scan {
  uint64_t size, flags, from, to, reached, regions, regions_max, pages_max, inverted, all_of, any_of, told;
};
enum { OF_FILE = 1 << 2, PRESENT = 1 << 3, SWAPPED = 1 << 4, ZEROS = 1 << 5, REGIONS_MAX = 64 };
#define SCAN_PAGES _IOWR('f', 16, struct scan)

/* Memory of one process, by descriptors that stay valid across pid reuse. */
struct source {
  pid_t pid;
  int memory, pages;
  uint64_t left;
};

/* Each region is a JSON header, a newline and its bytes; all-zero pages and unreadable ones are skipped. */
static void copy_stretch(struct source *source, uint64_t from, uint64_t to) {
  static char page[65536];
  static const char zeros[sizeof page];
  char head[160];
  while (from < to && source->left > 0) {
    uint64_t piece = to - from < sizeof page ? to - from : sizeof page;
    if (piece > source->left) piece = source->left;
    ssize_t n = pread(source->memory, page, piece, (off_t)from);
    if (n <= 0) return;
    if (memcmp(page, zeros, (size_t)n)) {
      int bytes = snprintf(head, sizeof head, "{\"pid\":%d,\"from\":\"%llx\",\"bytes\":%zd}\n", source->pid,
                           (unsigned long long)from, n);
      write_all(head, (size_t)bytes);
      write_all(page, (size_t)n);
      source->left -= (uint64_t)n;
    }
    from += (uint64_t)n;
  }
}

/* Copies private pages that were written, also if they are protected now; for shared mappings, all pages
 * touched. Returns 0 if the kernel lacks PAGEMAP_SCAN. */
static int copy_own(struct source *source, uint64_t from, uint64_t to, int is_shared) {
  struct region regions[REGIONS_MAX];
  uint64_t never = is_shared ? ZEROS : ZEROS | OF_FILE;
  while (from < to && source->left > 0) {
    struct scan scan = {
        .size = sizeof scan,
        .from = from,
        .to = to,
        .regions = (uint64_t)(uintptr_t)regions,
        .regions_max = REGIONS_MAX,
        .inverted = never,
        .all_of = never,
        .any_of = PRESENT | SWAPPED,
        .told = PRESENT,
    };
    int count = ioctl(source->pages, SCAN_PAGES, &scan);
    if (count < 0) return errno == EINTR ? 1 : 0;
    for (int i = 0; i < count; i++) copy_stretch(source, regions[i].from, regions[i].to);
    if (scan.reached <= from) return 1;
    from = scan.reached;
  }
  return 1;
}

static void copy_area(struct source *source, const char *line) {
  unsigned long long from, to;
  char rights[8];
  if (sscanf(line, "%llx-%llx %7s", &from, &to, rights) != 3) return;
  if (copy_own(source, from, to, rights[3] == 's')) return;
  if (rights[0] == 'r' && rights[1] == 'w') copy_stretch(source, from, to);
}

static int open_of(pid_t pid, const char *what) {
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/%s", pid, what);
  return open(name, O_RDONLY | O_CLOEXEC);
}

static uint64_t capture_process(pid_t pid, uint64_t left) {
  char line[1024];
  int areas = open_of(pid, "maps");
  struct source source = {.pid = pid, .memory = open_of(pid, "mem"), .pages = open_of(pid, "pagemap"), .left = left};
  FILE *maps = areas < 0 || source.memory < 0 ? NULL : fdopen(areas, "r");
  /* Checked after the opens, so that pid reuse cannot change the process. */
  if (maps && is_of_wall(pid)) {
    while (source.left > 0 && fgets(line, sizeof line, maps)) copy_area(&source, line);
  } else {
    int n = snprintf(line, sizeof line, "{\"pid\":%d,\"refused\":true}\n", pid);
    write_all(line, (size_t)n);
  }
  if (maps) fclose(maps);
  else if (areas >= 0) close(areas);
  if (source.memory >= 0) close(source.memory);
  if (source.pages >= 0) close(source.pages);
  return left - source.left;
}

static _Noreturn void capture(const pid_t *pids, int count, uint64_t bytes_max) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  fcntl(CAPTURE_FD, F_SETFL, fcntl(CAPTURE_FD, F_GETFL) & ~O_NONBLOCK);
  uint64_t left = bytes_max;
  for (int i = 0; i < count && left > 0; i++) left -= capture_process(pids[i], left);
  const char *end = left > 0 ? "{\"end\":true,\"isWhole\":true}\n" : "{\"end\":true,\"isWhole\":false}\n";
  write_all(end, strlen(end));
  _exit(0);
}

int start_capture(const uint8_t *at, size_t bytes) {
  static pid_t pids[CAPTURED_MAX];
  if (bytes < 12 || bytes > 8 + 4 * CAPTURED_MAX || bytes % 4) return 0;
  uint64_t bytes_max = (uint64_t)u32_at(at) | (uint64_t)u32_at(at + 4) << 32;
  int count = 0;
  for (size_t i = 8; i < bytes; i += 4) {
    pid_t pid = (pid_t)u32_at(at + i);
    if (pid > 0 && is_of_wall(pid)) pids[count++] = pid;
  }
  if (wall.capturing && waitpid(wall.capturing, NULL, WNOHANG) == wall.capturing) wall.capturing = 0;
  pid_t child = wall.capturing || count == 0 ? -1 : fork();
  if (child == 0) capture(pids, count, bytes_max);
  if (child > 0) wall.capturing = child;
  SEND_LINE("{\"kind\":\"capturing\",\"processes\":%d}\n", child > 0 ? count : 0);
  return 1;
}

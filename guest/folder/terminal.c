/*
 * The caller's terminal is never in the wall: keys and output are passed on between it and a terminal of the wall's own.
 *
 * Problem. Who holds a terminal can put keys into it that its next reader takes for the user's (TIOCSTI), change its
 * settings for good, and read what is typed later.
 *
 * Mechanism. The wall makes a terminal in its own devpts. Its descriptors take the place of those of 0, 1 and 2 that are
 * terminals; the master is here. While the wall has the keyboard the caller's terminal is raw, so that keys such as ^C are
 * turned into signals by the wall's terminal, for its foreground group. Size and first settings are copied.
 *
 * Relies on termios(3). Keys are read where both input and output are terminals and this job is in the foreground, or a
 * command whose output goes to a pager would take the pager's keys.
 *
 * Not handled: output that a stopped terminal (^S in an outer one) does not take holds everything up here.
 */
#define _GNU_SOURCE
#include "terminal.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "folder.h"

enum { CHUNK_BYTES = 16384, DRAIN_MS = 1000 };

static int master = -1, outer = -1, has_keys, is_raw;
static struct termios before;

int has_terminal(void) {
  return master >= 0;
}

static int first_terminal(void) {
  /* Output first: standard input may be a terminal that was opened for reading alone. */
  static const int order[] = {1, 2, 0};
  for (int i = 0; i < 3; i++)
    if (asked.terminals & 1 << order[i]) return order[i];
  return -1;
}

static void write_all(int fd, const char *bytes, size_t count) {
  while (count > 0) {
    ssize_t n = write(fd, bytes, count);
    if (n > 0) bytes += n, count -= (size_t)n;
    else if (errno == EAGAIN) poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
    else if (errno != EINTR) return;
  }
}

static int is_in_foreground(void) {
  pid_t group = tcgetpgrp(outer);
  return group < 0 || group == getpgrp();
}

void resize_terminal(void) {
  struct winsize size;
  if (master >= 0 && ioctl(outer, TIOCGWINSZ, &size) == 0) ioctl(master, TIOCSWINSZ, &size);
}

void take_terminal(void) {
  struct termios raw;
  if (!has_keys || is_raw || !is_in_foreground() || tcgetattr(0, &before)) return;
  raw = before;
  cfmakeraw(&raw);
  is_raw = tcsetattr(0, TCSADRAIN, &raw) == 0;
  resize_terminal();
}

void restore_terminal(void) {
  if (is_raw) tcsetattr(0, TCSADRAIN, &before);
  is_raw = 0;
}

void begin_terminal(int fd) {
  struct termios settings;
  master = fd;
  outer = first_terminal();
  if (tcgetattr(outer, &settings) == 0) tcsetattr(master, TCSANOW, &settings);
  has_keys = (asked.terminals & 1) && (asked.terminals & 2);
  resize_terminal();
  take_terminal();
}

void watch_terminal(struct pollfd *on) {
  if (has_keys && !is_raw) take_terminal();
  on[0] = (struct pollfd){.fd = master, .events = POLLIN};
  on[1] = (struct pollfd){.fd = is_raw ? 0 : -1, .events = POLLIN};
}

static void pass_output(void) {
  char chunk[CHUNK_BYTES];
  ssize_t n = read(master, chunk, sizeof chunk);
  if (n > 0) {
    write_all(outer, chunk, (size_t)n);
  } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
    /* EIO: the wall has closed every end of it. */
    close(master);
    master = -1;
    restore_terminal();
  }
}

static void pass_keys(void) {
  char chunk[CHUNK_BYTES];
  ssize_t n = read(0, chunk, sizeof chunk);
  if (n > 0) write_all(master, chunk, (size_t)n);
  else if (n == 0 || errno != EINTR) has_keys = 0;
}

void relay_terminal(const struct pollfd *on) {
  if (on[0].revents && master >= 0) pass_output();
  if (on[1].revents && master >= 0) pass_keys();
}

void drain_terminal(void) {
  struct pollfd on = {.fd = master, .events = POLLIN};
  while (master >= 0 && poll(&on, 1, DRAIN_MS) > 0) pass_output();
}

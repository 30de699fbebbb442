/*
 * Relays keys and output between the caller's terminal and a pseudo-terminal of the wall, which never gets the former.
 *
 * Problem. A process with a descriptor of a terminal can inject input that its next reader takes for the user's (TIOCSTI),
 * change its settings permanently, and read what is typed later.
 *
 * Mechanism. The wall makes a pty in its own devpts. Its slave replaces those of the descriptors 0, 1 and 2 that are
 * terminals; the master is here. During the relay the caller's terminal is in raw mode, so the line discipline of the wall's
 * pty turns keys such as ^C into signals for its foreground group. Window size and initial settings are copied.
 *
 * Relies on termios(3). Input is read only if both input and output are terminals and this job is in the foreground; a
 * command whose output goes to a pager would otherwise take the pager's keys.
 *
 * Not handled: a write to a caller's terminal that is stopped (^S) blocks the monitor.
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

static int master = -1, caller_terminal = -1, reads_input, is_raw;
static struct termios saved;

int has_terminal(void) {
  return master >= 0;
}

static int first_terminal(void) {
  /* Output first: standard input may be open for reading only. */
  static const int order[] = {1, 2, 0};
  for (int i = 0; i < 3; i++)
    if (options.terminals & 1 << order[i]) return order[i];
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
  pid_t group = tcgetpgrp(caller_terminal);
  return group < 0 || group == getpgrp();
}

void resize_terminal(void) {
  struct winsize size;
  if (master >= 0 && ioctl(caller_terminal, TIOCGWINSZ, &size) == 0) ioctl(master, TIOCSWINSZ, &size);
}

void make_terminal_raw(void) {
  struct termios raw;
  if (!reads_input || is_raw || !is_in_foreground() || tcgetattr(0, &saved)) return;
  raw = saved;
  cfmakeraw(&raw);
  is_raw = tcsetattr(0, TCSADRAIN, &raw) == 0;
  resize_terminal();
}

void restore_terminal(void) {
  if (is_raw) tcsetattr(0, TCSADRAIN, &saved);
  is_raw = 0;
}

void start_terminal_relay(int fd) {
  struct termios settings;
  master = fd;
  caller_terminal = first_terminal();
  if (tcgetattr(caller_terminal, &settings) == 0) tcsetattr(master, TCSANOW, &settings);
  reads_input = (options.terminals & 1) && (options.terminals & 2);
  resize_terminal();
  make_terminal_raw();
}

void poll_terminal(struct pollfd *on) {
  if (reads_input && !is_raw) make_terminal_raw();
  on[0] = (struct pollfd){.fd = master, .events = POLLIN};
  on[1] = (struct pollfd){.fd = is_raw ? 0 : -1, .events = POLLIN};
}

static void relay_output(void) {
  char chunk[CHUNK_BYTES];
  ssize_t n = read(master, chunk, sizeof chunk);
  if (n > 0) {
    write_all(caller_terminal, chunk, (size_t)n);
  } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
    /* EIO: the last slave descriptor was closed. */
    close(master);
    master = -1;
    restore_terminal();
  }
}

static void relay_input(void) {
  char chunk[CHUNK_BYTES];
  ssize_t n = read(0, chunk, sizeof chunk);
  if (n > 0) write_all(master, chunk, (size_t)n);
  else if (n == 0 || errno != EINTR) reads_input = 0;
}

void relay_terminal(const struct pollfd *on) {
  if (on[0].revents && master >= 0) relay_output();
  if (on[1].revents && master >= 0) relay_input();
}

void drain_terminal(void) {
  struct pollfd on = {.fd = master, .events = POLLIN};
  while (master >= 0 && poll(&on, 1, DRAIN_MS) > 0) relay_output();
}

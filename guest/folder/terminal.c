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
 * Neither side can block this process: bytes that are not taken yet wait in a buffer for each direction, and are read no faster.
 *
 * Relies on termios(3). Input is read only if both input and output are terminals and this job is in the foreground; a
 * command whose output goes to a pager would otherwise take the pager's keys.
 *
 * Not handled: a caller's terminal that cannot be opened again (of another user, as after su): a write to it blocks the monitor
 * while it is stopped (^S).
 */
#define _GNU_SOURCE
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "folder.h"

/* STOP_READS_MAX: other processes of the wall may go on writing while the command is stopped. */
enum { CHUNK_BYTES = 16384, DRAIN_MS = 1000, STOP_READS_MAX = 64 };

static int master = -1, caller_terminal = -1, reads_input, is_raw;
static struct termios saved;

/* Keys for the wall, and output for the caller: what was read, and is not passed on yet. */
static struct flow {
  int to;
  size_t at, end;
  char bytes[CHUNK_BYTES];
} keys = {.to = -1}, output = {.to = -1};

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

static int is_waiting(const struct flow *flow) {
  return flow->at < flow->end;
}

/* Writes what the receiver takes now. One that is gone gets nothing of the rest. */
static void pass_on(struct flow *flow) {
  while (is_waiting(flow)) {
    ssize_t n = write(flow->to, flow->bytes + flow->at, flow->end - flow->at);
    if (n > 0) flow->at += (size_t)n;
    else if (n < 0 && errno == EAGAIN) return;
    else if (n == 0 || errno != EINTR) flow->at = flow->end;
  }
}

/* Reads more bytes, none of which wait. Returns 0 if there will be no more. */
static int refill(struct flow *flow, int from) {
  ssize_t n = read(from, flow->bytes, sizeof flow->bytes);
  if (n <= 0) return n < 0 && (errno == EINTR || errno == EAGAIN);
  flow->at = 0;
  flow->end = (size_t)n;
  pass_on(flow);
  return 1;
}

/* A description of its own, since O_NONBLOCK on the caller's would be that of its shell too. Optional: else writes block. */
static int open_again(int terminal) {
  char name[32];
  snprintf(name, sizeof name, "/proc/self/fd/%d", terminal);
  int fd = open(name, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return fd < 0 ? terminal : fd;
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

void restore_terminal_now(void) {
  if (is_raw) tcsetattr(0, TCSANOW, &saved);
}

void start_terminal_relay(int fd) {
  struct termios settings;
  master = keys.to = fd;
  fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
  caller_terminal = first_terminal();
  output.to = open_again(caller_terminal);
  if (tcgetattr(caller_terminal, &settings) == 0) tcsetattr(master, TCSANOW, &settings);
  reads_input = (options.terminals & 1) && (options.terminals & 2);
  resize_terminal();
  make_terminal_raw();
}

void poll_terminal(struct pollfd *on) {
  if (reads_input && !is_raw) make_terminal_raw();
  int events = (is_waiting(&output) ? 0 : POLLIN) | (is_waiting(&keys) ? POLLOUT : 0);
  /* Without an event to wait for, poll(2) would still return at once for a slave that was closed. */
  on[0] = (struct pollfd){.fd = events ? master : -1, .events = (short)events};
  on[1] = (struct pollfd){.fd = is_raw && reads_input && !is_waiting(&keys) ? 0 : -1, .events = POLLIN};
  on[2] = (struct pollfd){.fd = is_waiting(&output) ? output.to : -1, .events = POLLOUT};
}

static void relay_output(void) {
  if (refill(&output, master)) return;
  /* EIO: the last slave descriptor was closed. Keys are the caller's from now on, so that ^C becomes a signal there. */
  close(master);
  master = -1;
  reads_input = 0;
  keys.at = keys.end = 0;
  restore_terminal();
}

void relay_terminal(const struct pollfd *on) {
  if (on[2].revents) pass_on(&output);
  if (on[0].revents && master >= 0) {
    pass_on(&keys);
    if (!is_waiting(&output)) relay_output();
  }
  if (on[1].revents && master >= 0 && !refill(&keys, 0)) reads_input = 0;
}

/* Returns 0 if output still waits. */
static int finish_output(int (*awaits)(int terminal)) {
  for (; is_waiting(&output); pass_on(&output))
    if (!awaits(output.to)) return 0;
  return 1;
}

static int has_more_output(int ms) {
  struct pollfd on = {.fd = master, .events = POLLIN};
  return master >= 0 && poll(&on, 1, ms) > 0;
}

void drain_terminal(int (*awaits)(int terminal)) {
  while (finish_output(awaits) && has_more_output(DRAIN_MS)) relay_output();
}

void print_before_stop(int (*awaits)(int terminal)) {
  for (int reads = 0; finish_output(awaits) && has_more_output(0) && reads < STOP_READS_MAX; reads++) relay_output();
}

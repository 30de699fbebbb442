/*
 * The guest agent: process 1 of a virtual machine that is cloned from a warm template for one job.
 *
 *   agent boot PORT DISK [restart] [port=NAME=PORT]... [scratch=BYTES] [descriptor=NAME=SOURCE]...
 *   agent CHANNEL [off] [overlay=FOLDER] [descriptor=NAME=SOURCE]...
 *
 * `boot` makes the root of a machine first (boot.c), with that port (ports.c) as its channel. Programs can get further ports by
 * name, and `scratch` is the size in bytes of each tmpfs that they write to. CHANNEL and SOURCE are the number of an open
 * descriptor, or the absolute path of a device. `off` powers the machine off in place of an exit, as `boot` does; `restart`
 * reboots it instead, for machines that cannot power off.
 *
 * Problem: the host needs a program in the guest that makes a clone unique, starts the job, carries its streams, closes rights at
 * phase changes, and kills all processes. All other programs of the guest are hostile, and its input may be malformed.
 *
 * Mechanism: one thread, one event loop, tables and buffers of fixed size, no allocation after the start. Its output is a claim of
 * the guest: the host bases no security decision on it alone.
 *
 *   wire.h     every frame            programs.c   programs, streams, kill     claim.c     the claim
 *   channel.c  frames, buffers, end   processes.c  limits, writers, status     phases.c    phase commands
 *   overlay.c  lists and files        sha256.c     the digest                  boot.c      mounts and modules
 *   group.c    limits, members, holds policy.c     profile of AppArmor         identity.c  names of a copy
 *   watch.c    observations           refusal.c    records of refusals     ports.c     ports of a machine
 *   zones.c    zones of programs      zone-rules.c names of programs
 *
 * Relies on Linux 5.12, and on being process 1 of its PID namespace; it refuses to start otherwise, since a kill signals all
 * processes.
 *
 * Not handled: egress, which the carrier does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "boot.h"
#include "channel.h"
#include "claim.h"
#include "group.h"
#include "overlay.h"
#include "phases.h"
#include "policy.h"
#include "processes.h"
#include "programs.h"
#include "watch.h"
#include "zones.h"

static int children = -1;

static void take_frame(uint8_t kind, struct reader *payload) {
  static void (*const takes[KINDS_END])(struct reader *) = {
      [CLAIM] = take_claim, [RUN] = take_run,     [INPUT] = take_input, [CLOSE] = take_close, [CREDIT] = take_credit,
      [SIGNAL] = take_signal, [KILL] = take_kill, [PHASE] = take_phase, [LIST] = take_list,   [STATUS] = take_status,
      [RENEW] = take_renew, [WATCH] = take_watch,   [HOLD] = take_hold, [LOOK] = take_look,   [READ] = take_read,
      [RULE] = take_rule,   [BOUND] = take_bound,   [FINISH] = take_finish,
  };
  takes[kind](payload);
}

/* Opens a descriptor by its number or by the path of a device; close-on-exec. */
static int open_source(const char *source) {
  char *end;
  if (source[0] == '/') return open(source, O_RDWR | O_CLOEXEC | O_NOCTTY);
  long number = strtol(source, &end, 10);
  if (end == source || *end || number < 0 || number > DESCRIPTOR_LAST) return -1;
  return fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0 ? -1 : (int)number;
}

static int take_option(char *option) {
  if (!strcmp(option, "off")) return powers_off = 1;
  if (!strncmp(option, "overlay=", 8)) return open_overlay(option + 8);
  if (strncmp(option, "descriptor=", 11)) return 0;
  char *name = option + 11, *source = strchr(name, '=');
  if (!source) return 0;
  *source = 0;
  int fd = open_source(source + 1);
  return fd >= 0 && add_descriptor(name, fd);
}

/* Returns the number of arguments consumed. */
static int find_channel(int argc, char **argv) {
  if (argc > 3 && !strcmp(argv[1], "boot")) {
    int used = 4;
    while (used < argc && take_boot_option(argv[used])) used++;
    boot(argv[2], argv[3]);
    return used;
  }
  if (argc < 2 || !open_channel(open_source(argv[1]))) end_agent(BAD_START);
  return 2;
}

static uint8_t abilities(void) {
  return (uint8_t)((counts_memory() ? CAN_LIMIT_MEMORY : 0) | (counts_tasks() ? CAN_COUNT_TASKS : 0) |
                   (has_policy() ? CAN_CONFINE : 0) | (can_watch() ? CAN_WATCH : 0) |
                   (can_zone() ? CAN_ZONE : 0));
}

/* Sends the first frame of each connection. */
static void greet(void) {
  begin(HELLO);
  put_u32(INPUT_BYTES_MAX);
  put_u8(abilities());
  finish();
}

static void start(int argc, char **argv) {
  sigset_t all;
  if (getpid() != 1) end_agent(NOT_PID_1);
  for (int i = find_channel(argc, argv); i < argc; i++)
    if (!take_option(argv[i])) end_agent(BAD_START);
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&all);
  sigaddset(&all, SIGCHLD);
  children = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  signal(SIGPIPE, SIG_IGN);
  /* Processes of other users can then neither trace this process nor read its memory. */
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (children < 0) end_agent(BAD_START);
  open_proc();
  if (channel >= 0) greet();
}

int main(int argc, char **argv) {
  struct signalfd_siginfo ended;
  struct pollfd on[POLLS_MAX + WATCH_POLLS_MAX + ZONE_POLLS_MAX];
  start(argc, argv);
  for (int may_be_more = 0;;) {
    on[0] = poll_channel();
    on[1] = (struct pollfd){.fd = children, .events = POLLIN};
    size_t programs = 2 + poll_programs(on + 2), count = programs + poll_watch(on + programs);
    if (poll(on, count + poll_zones(on + count), may_be_more ? 0 : -1) < 0 && errno != EINTR) end_agent(BROKEN_AGENT);
    if (on[1].revents & POLLIN && read(children, &ended, sizeof ended) < 0 && errno != EAGAIN) end_agent(BROKEN_AGENT);
    may_be_more = reap_some();
    serve_channel(on[0].revents, take_frame, greet);
    serve_programs();
    serve_watch(on + programs, count - programs);
    serve_zones();
  }
}

/* State shared by all files: policy, descriptors, counters; clocks; the end of the wall. */
#ifndef SENTINEL_WALL_H
#define SENTINEL_WALL_H
#include <fcntl.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

enum { CONTROL_FD = 3, HANDOVER_FD = 4, PROGRAM_FD = 5, CAPTURE_FD = 6 };
enum { CALLS_MAX = 1024, PHASES_MAX = 64, SCRATCH_DEVICES_MAX = 8, LIFTS_MAX = 4, SECRETS_MAX = 64 };

/* Classes of calls. */
enum { EXEC, PROCESS, NETWORK, WRITE, OUTSIDE, CLASSES };
enum { ALL = (1 << CLASSES) - 1 };
extern const char *const class_names[CLASSES];

/* Exit codes, which the warden reads. */
enum {
  ENDED_WELL = 0,
  BAD_FRAME = 2,
  LOST_WARDEN = 3,
  NOT_HANDED_OVER = 4,
  BAD_START = 5,
  ENDED_BY_PHASE = 6,
  PIDS_NOT_LIMITED = 7,
  UNSETTLED = 8,
};

struct phase {
  uint64_t at;
  uint32_t generation;
  uint8_t allow, kills, errors[6];
};

extern struct wall {
  /* Policy: the class of each call (class + 1; 0 is not watched), the classes that are open, and the errno of a class
   * that is closed. */
  uint8_t class_of[CALLS_MAX];
  uint8_t allowed;
  uint8_t errors[6];
  uint32_t generation;
  /* Future phases, ordered by time. */
  struct phase phases[PHASES_MAX];
  int phase_count;
  /* Descriptors: the filter's listener, the wall's root folder, a pidfd of its first process and one of the warden, and a
   * netlink socket in its network namespace. */
  int listener, root, init, parent, sockets;
  /* First program of the wall, and the inode of its PID namespace. */
  pid_t first_pid;
  ino_t pid_namespace;
  /* Writable file systems of the wall. */
  dev_t scratch[SCRATCH_DEVICES_MAX];
  int scratch_count;
  /* Cgroup files, and the text that lifts the bound in each. */
  int lift_fds[LIFTS_MAX];
  const char *lift_texts[LIFTS_MAX];
  int lift_count;
  /* Descriptor of pids.max. */
  int pids_max_fd;
  /* True if calls are reported, and if an exec waits for the warden's approval. */
  int reports;
  int defers_execs;
  const char *secrets[SECRETS_MAX];
  int secret_count;
  /* Counters. `untracked`: continued calls that did not fit in the table. */
  uint64_t denied, answered, dropped_reports, untracked;
  /* Child that copies memory; 0 if there is none. */
  pid_t capturing;
  /* `is_kept`: this process is the keeper of a wall without namespaces (keep.c), the parent of its first program, in the
   * host's root and PID namespace; `scratch_path` is then the only folder that the wall may write to. `is_shared`: its user
   * has other processes and files. `is_unscoped`: Landlock does not restrict its signals. */
  int is_kept, is_shared, is_unscoped;
  char scratch_path[256];
  pid_t keeper;
  /* Limit of processes and threads of a kept wall, and the port of its egress path, or 0. */
  int tasks_max;
  uint16_t egress_port;
  /* Kernel timer that kills this process. */
  int watchdog, has_watchdog;
} wall;

uint64_t ns_of(clockid_t clock);
uint64_t now_ns(void);
_Noreturn void end_wall(int status);
void on_parent_death(int signal);

#endif

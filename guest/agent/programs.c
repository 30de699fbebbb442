/*
 * Problem: process 1 starts untrusted programs, writes their input and reads their output. None may block the agent, exhaust its
 * buffers or survive a kill.
 *
 * Mechanism: a table of fixed size. Standard output is read only while the host has granted credit and the channel has room, so that
 * a program that writes too much blocks in write(2) (back-pressure). Standard input has a buffer as large as its credit. Orphans of
 * the namespace become children of process 1 and are reaped. A kill signals -1 repeatedly until wait4(2) returns ECHILD: all
 * processes of a PID namespace descend from its process 1.
 *
 * Relies on: being process 1 of its PID namespace; Linux 5.11 (close_range(2) with CLOSE_RANGE_CLOEXEC).
 *
 * Not handled: protection of the agent against programs of uid 0. The end of a stream is not reported while it has unread bytes and
 * no credit.
 */
#define _GNU_SOURCE
#include "programs.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILL_TRIES = 4000, KILL_PAUSE_NS = 500000, REAPED_AT_ONCE = 1024, ABOVE_ALL = 128 };

struct named {
  char name[NAMED_BYTES_MAX + 1];
  int fd;
};

struct program {
  int is_used, is_failed, is_exited, tells_exit;
  uint32_t id;
  pid_t pid;
  /* -1 once closed. `status` is the pipe that reports a failed start: a stage and errno, or end of file at execve. */
  int status, in, out[2];
  uint32_t credit[2];
  int tells_end[3];
  int is_closing;
  size_t input_have, input_done;
  uint8_t how, value;
  uint64_t cpu_us, peak_kib;
  uint8_t input[INPUT_BYTES_MAX];
};

/* Parameters of a start, pointing into the frame. */
struct start {
  uint8_t streams;
  uint32_t uid, gid;
  char *file, *folder;
  char *arguments[WORDS_MAX + 1], *variables[WORDS_MAX + 1];
  int count, numbers[DESCRIPTORS_MAX], sources[DESCRIPTORS_MAX];
};

uint64_t limits[LIMITS] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
const int limit_numbers[LIMITS] = {RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_CORE};
static struct program programs[PROGRAMS_MAX];
static struct named named[NAMED_MAX];
static int named_count;

int add_descriptor(const char *name, int fd) {
  size_t length = strlen(name);
  if (named_count == NAMED_MAX || length == 0 || length > NAMED_BYTES_MAX) return 0;
  memcpy(named[named_count].name, name, length + 1);
  named[named_count++].fd = fd;
  return 1;
}

static int descriptor_of(const char *name) {
  for (int i = 0; i < named_count; i++)
    if (!strcmp(named[i].name, name)) return named[i].fd;
  return -1;
}

static struct program *find(uint32_t id) {
  for (int i = 0; i < PROGRAMS_MAX; i++)
    if (programs[i].is_used && programs[i].id == id) return &programs[i];
  return NULL;
}

static void let_go(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* ---- the child ---- */

static _Noreturn void give_up(int status, uint8_t stage) {
  uint8_t said[3] = {stage, (uint8_t)errno, (uint8_t)(errno >> 8)};
  if (write(status, said, sizeof said) < 0) _exit(126);
  _exit(127);
}

static int lower_own(int number, uint64_t value) {
  struct rlimit has;
  if (value == UINT64_MAX) return 0;
  if (getrlimit(number, &has) < 0) return -1;
  if (value < has.rlim_max) has.rlim_max = value;
  if (has.rlim_cur > has.rlim_max) has.rlim_cur = has.rlim_max;
  return setrlimit(number, &has);
}

static int become(uint32_t uid, uint32_t gid) {
  /* A user namespace may forbid setgroups(2); acceptable for root only, which keeps its groups then. */
  if (setgroups(0, NULL) < 0 && (uid != 0 || gid != 0)) return -1;
  if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) return -1;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int move_up(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, ABOVE_ALL); }

static _Noreturn void become_program(const struct start *start, const int streams[3], int status) {
  int from[3], given[DESCRIPTORS_MAX];
  sigset_t none;
  int high = move_up(status);
  if (high < 0) give_up(status, STAGE_DESCRIPTOR);
  status = high;
  setsid();
  signal(SIGPIPE, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int i = 0; i < 3; i++) {
    int fd = streams[i] >= 0 ? streams[i] : open("/dev/null", i == 0 ? O_RDONLY : O_WRONLY);
    if (fd < 0 || (from[i] = move_up(fd)) < 0) give_up(status, STAGE_DESCRIPTOR);
  }
  for (int i = 0; i < start->count; i++)
    if ((given[i] = move_up(start->sources[i])) < 0) give_up(status, STAGE_DESCRIPTOR);
  if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0) give_up(status, STAGE_DESCRIPTOR);
  for (int i = 0; i < 3; i++)
    if (dup2(from[i], i) < 0) give_up(status, STAGE_DESCRIPTOR);
  for (int i = 0; i < start->count; i++)
    if (dup2(given[i], start->numbers[i]) < 0) give_up(status, STAGE_DESCRIPTOR);
  for (int i = 0; i < LIMITS; i++)
    if (lower_own(limit_numbers[i], limits[i]) < 0) give_up(status, STAGE_LIMITS);
  if (become(start->uid, start->gid) < 0) give_up(status, STAGE_USER);
  if (chdir(start->folder) < 0) give_up(status, STAGE_FOLDER);
  execve(start->file, start->arguments, start->variables);
  give_up(status, STAGE_EXEC);
}

/* ---- frames ---- */

static void take_words(struct reader *from, char **words) {
  size_t count = take_u16(from);
  if (count > WORDS_MAX) from->bad = 1;
  for (size_t i = 0; i < count && !from->bad; i++) words[i] = take_text(from, 0, UINT16_MAX);
  words[from->bad ? 0 : count] = NULL;
}

static int is_number_free(const struct start *start, int number) {
  for (int i = 0; i < start->count; i++)
    if (start->numbers[i] == number) return 0;
  return number >= DESCRIPTOR_FIRST && number <= DESCRIPTOR_LAST;
}

/* Returns whether all names are known. */
static int take_descriptors(struct reader *from, struct start *start) {
  int count = take_u8(from), all = 1;
  if (count > DESCRIPTORS_MAX) from->bad = 1;
  start->count = 0;
  for (int i = 0; i < count && !from->bad; i++) {
    int number = take_u8(from);
    int fd = descriptor_of(take_text(from, 1, NAMED_BYTES_MAX));
    if (!is_number_free(start, number)) from->bad = 1;
    if (fd < 0) all = 0;
    start->numbers[i] = number;
    start->sources[i] = fd;
    start->count = i + 1;
  }
  return all;
}

static void unblock(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

/* Makes the pipes: the agent's ends in `program`, the child's ends in `streams`. */
static int make_pipes(struct program *program, uint8_t wanted, int streams[3], int *status) {
  int ends[2];
  for (int i = 0; i < 3; i++) {
    if (!(wanted & 1 << i)) continue;
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    int *own = i == 0 ? &program->in : &program->out[i - 1];
    *own = ends[i == 0];
    streams[i] = ends[i != 0];
    unblock(*own);
  }
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  program->status = ends[0];
  *status = ends[1];
  unblock(program->status);
  return 0;
}

static void close_all(struct program *program) {
  let_go(&program->in);
  let_go(&program->out[0]);
  let_go(&program->out[1]);
  let_go(&program->status);
}

static void start_program(struct program *program, const struct start *start) {
  int streams[3] = {-1, -1, -1}, status = -1;
  int error = make_pipes(program, start->streams, streams, &status) < 0 ? errno : 0;
  if (!error) {
    program->pid = fork();
    if (program->pid == 0) become_program(start, streams, status);
    if (program->pid < 0) error = errno;
  }
  for (int i = 0; i < 3; i++) let_go(&streams[i]);
  let_go(&status);
  if (!error) return;
  close_all(program);
  program->is_used = 0;
  refuse(RUN, program->id, STAGE_FORK, error);
}

void take_run(struct reader *from) {
  static struct start start;
  uint32_t id = take_u32(from), credit[2];
  start.streams = take_u8(from);
  start.uid = take_u32(from);
  start.gid = take_u32(from);
  credit[0] = take_u32(from);
  credit[1] = take_u32(from);
  start.file = take_text(from, 1, PATH_BYTES_MAX);
  start.folder = take_text(from, 1, PATH_BYTES_MAX);
  take_words(from, start.arguments);
  take_words(from, start.variables);
  int all_known = take_descriptors(from, &start);
  if (!is_whole(from) || start.streams > 7 || start.file[0] != '/' || start.folder[0] != '/') end_agent(BAD_PAYLOAD);
  if (!start.arguments[0] || start.uid == UINT32_MAX || start.gid == UINT32_MAX) end_agent(BAD_PAYLOAD);
  if (credit[0] > CREDIT_MAX || credit[1] > CREDIT_MAX) end_agent(BAD_CREDIT);
  struct program *program = NULL;
  for (int i = 0; i < PROGRAMS_MAX && !program; i++)
    if (!programs[i].is_used) program = &programs[i];
  if (find(id)) return refuse(RUN, id, STAGE_CHECK, EEXIST);
  if (!all_known) return refuse(RUN, id, STAGE_CHECK, ENOENT);
  if (!program) return refuse(RUN, id, STAGE_CHECK, EAGAIN);
  memset(program, 0, sizeof *program);
  program->is_used = 1;
  program->id = id;
  program->status = program->in = program->out[0] = program->out[1] = -1;
  memcpy(program->credit, credit, sizeof credit);
  start_program(program, &start);
}

void take_input(struct reader *from) {
  uint32_t id = take_u32(from);
  size_t length = from->left;
  if (from->bad || length == 0) end_agent(BAD_PAYLOAD);
  struct program *program = find(id);
  if (!program) return refuse(INPUT, id, STAGE_CHECK, ESRCH);
  if (program->is_closing) end_agent(BAD_CREDIT);
  if (program->in < 0) return;
  if (length > INPUT_BYTES_MAX - program->input_have - program->input_done) end_agent(BAD_CREDIT);
  memcpy(program->input + program->input_have, from->at, length);
  program->input_have += length;
}

void take_close(struct reader *from) {
  uint32_t id = take_u32(from);
  if (!is_whole(from)) end_agent(BAD_PAYLOAD);
  struct program *program = find(id);
  if (program) program->is_closing = 1;
  else refuse(CLOSE, id, STAGE_CHECK, ESRCH);
}

void take_credit(struct reader *from) {
  uint32_t id = take_u32(from);
  uint8_t stream = take_u8(from);
  uint32_t bytes = take_u32(from);
  if (!is_whole(from) || stream < 1 || stream > 2) end_agent(BAD_PAYLOAD);
  struct program *program = find(id);
  if (!program) return refuse(CREDIT, id, STAGE_CHECK, ESRCH);
  if (bytes > CREDIT_MAX - program->credit[stream - 1]) end_agent(BAD_CREDIT);
  program->credit[stream - 1] += bytes;
}

void take_signal(struct reader *from) {
  uint32_t id = take_u32(from);
  uint8_t number = take_u8(from), scope = take_u8(from);
  if (!is_whole(from) || number < 1 || number > 31 || scope > 1) end_agent(BAD_PAYLOAD);
  struct program *program = find(id);
  /* Its pid cannot be reused before it is reaped; it leads its process group only once its start is complete. */
  if (!program || program->is_exited || program->status >= 0) return refuse(SIGNAL, id, STAGE_CHECK, ESRCH);
  if (kill(scope ? -program->pid : program->pid, number) < 0) refuse(SIGNAL, id, STAGE_CHECK, errno);
}

void take_kill(struct reader *from) {
  uint32_t nonce = take_u32(from);
  if (!is_whole(from)) end_agent(BAD_PAYLOAD);
  int are_gone = kill_all();
  begin(KILLED);
  put_u32(nonce);
  put_u8(are_gone ? 0 : 1);
  finish();
}

/* ---- ends ---- */

static void note_end(pid_t pid, int status, const struct rusage *used) {
  for (int i = 0; i < PROGRAMS_MAX; i++) {
    struct program *program = &programs[i];
    if (!program->is_used || program->is_exited || program->pid != pid) continue;
    program->is_exited = program->tells_exit = 1;
    program->how = WIFSIGNALED(status) ? 1 : 0;
    program->value = (uint8_t)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    program->cpu_us = (uint64_t)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1000000u +
                      (uint64_t)(used->ru_utime.tv_usec + used->ru_stime.tv_usec);
    program->peak_kib = (uint64_t)used->ru_maxrss;
    let_go(&program->in);
    return;
  }
}

/* Reaps one child: 1; 0 if none has exited; -1 if there is no child. */
static int reap(void) {
  struct rusage used;
  int status;
  pid_t pid = wait4(-1, &status, WNOHANG, &used);
  if (pid > 0) note_end(pid, status, &used);
  return pid > 0 ? 1 : pid == 0 || errno == EINTR ? 0 : -1;
}

int reap_some(void) {
  for (int i = 0; i < REAPED_AT_ONCE; i++)
    if (reap() <= 0) return 0;
  return 1;
}

int kill_all(void) {
  const struct timespec pause = {0, KILL_PAUSE_NS};
  for (int i = 0; i < KILL_TRIES; i++) {
    kill(-1, SIGKILL);
    int more = 1;
    for (int k = 0; k < REAPED_AT_ONCE && more > 0; k++) more = reap();
    if (more < 0) return 1;
    nanosleep(&pause, NULL);
  }
  return 0;
}

/* ---- streams ---- */

static int may_read(const struct program *program, int stream) {
  return program->out[stream] >= 0 && program->credit[stream] > 0 && program->status < 0 && has_room_for_output();
}

static void read_output(struct program *program, int stream) {
  static uint8_t bytes[STREAM_BYTES_MAX];
  if (!may_read(program, stream)) return;
  size_t most = program->credit[stream] < sizeof bytes ? program->credit[stream] : sizeof bytes;
  ssize_t n = read(program->out[stream], bytes, most);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    let_go(&program->out[stream]);
    program->tells_end[stream + 1] = 1;
    return;
  }
  program->credit[stream] -= (uint32_t)n;
  begin(OUTPUT);
  put_u32(program->id);
  put_u8((uint8_t)(stream + 1));
  put_bytes(bytes, (size_t)n);
  finish();
}

static void write_input(struct program *program) {
  if (program->in < 0) return;
  if (program->input_have > 0) {
    ssize_t n = write(program->in, program->input, program->input_have);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) {
      let_go(&program->in);
      program->tells_end[0] = 1;
      return;
    }
    program->input_have -= (size_t)n;
    program->input_done += (size_t)n;
    memmove(program->input, program->input + n, program->input_have);
  }
  if (program->input_have == 0 && program->is_closing) let_go(&program->in);
}

static void look_at_start(struct program *program) {
  uint8_t said[3];
  ssize_t n = read(program->status, said, sizeof said);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  let_go(&program->status);
  if (n == (ssize_t)sizeof said) {
    program->is_failed = 1;
    close_all(program);
    return refuse(RUN, program->id, said[0], said[1] | said[2] << 8);
  }
  begin(STARTED);
  put_u32(program->id);
  put_u32((uint32_t)program->pid);
  finish();
}

static void tell_input(struct program *program) {
  if (program->in < 0 || program->input_done == 0) return;
  if (program->input_have > 0 && program->input_done < STREAM_BYTES_MAX) return;
  begin(INPUT_CREDIT);
  put_u32(program->id);
  put_u32((uint32_t)program->input_done);
  finish();
  program->input_done = 0;
}

static void tell_ends(struct program *program) {
  for (uint8_t stream = 0; stream < 3; stream++) {
    if (!program->tells_end[stream]) continue;
    program->tells_end[stream] = 0;
    begin(ENDED);
    put_u32(program->id);
    put_u8(stream);
    finish();
  }
}

static void tell_exit(struct program *program) {
  begin(EXITED);
  put_u32(program->id);
  put_u8(program->how);
  put_u8(program->value);
  put_u64(program->cpu_us);
  put_u64(program->peak_kib);
  finish();
}

/* Reports the exit at once, because an orphan of it may keep the streams open forever. */
static void tell(struct program *program) {
  if (program->status >= 0) look_at_start(program);
  if (program->status >= 0) return;
  tell_input(program);
  tell_ends(program);
  if (program->tells_exit && !program->is_failed) tell_exit(program);
  program->tells_exit = 0;
  if (!program->is_exited || program->out[0] >= 0 || program->out[1] >= 0) return;
  close_all(program);
  program->is_used = 0;
}

void serve_programs(void) {
  for (int i = 0; i < PROGRAMS_MAX; i++) {
    struct program *program = &programs[i];
    if (!program->is_used) continue;
    write_input(program);
    read_output(program, 0);
    read_output(program, 1);
    if (has_room_for_event()) tell(program);
  }
}

size_t poll_programs(struct pollfd *on) {
  size_t count = 0;
  for (int i = 0; i < PROGRAMS_MAX; i++) {
    const struct program *program = &programs[i];
    if (!program->is_used) continue;
    if (program->status >= 0) on[count++] = (struct pollfd){.fd = program->status, .events = POLLIN};
    if (program->in >= 0 && program->input_have > 0) on[count++] = (struct pollfd){.fd = program->in, .events = POLLOUT};
    /* Not polled without credit: POLLHUP cannot be masked, and would make poll(2) return immediately each time. */
    for (int stream = 0; stream < 2; stream++)
      if (may_read(program, stream)) on[count++] = (struct pollfd){.fd = program->out[stream], .events = POLLIN};
  }
  return count;
}

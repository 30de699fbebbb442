/*
 * Protocol between a host and the agent in its guest, version 1. The codec of the host is src/agent-wire/.
 *
 * A frame is: u32 length of everything after it, u8 kind, payload. All numbers are little endian. Each payload starts with
 * u8 version. `str` is u16 length and as many bytes, without a NUL; `data` is the rest of the frame. A frame is exactly as
 * long as its fields: a byte too few or too many ends the connection. `hello` is the first frame of each connection. If the channel
 * is a listening socket, the agent accepts another host after one has disconnected, until it is claimed.
 *
 * To the agent (payload after the version)
 *   1 claim   str id, u16+bytes seed (32 to 256), u64 time in ns, u64 limits [processes, open files, file bytes, core bytes]
 *             (2^64-1: leave as it is), u64 bytes of memory above those in use (likewise), str hostname, u8 count, count * (str key, str value)
 *   2 run     u32 program, u8 streams (1 stdin, 2 stdout, 4 stderr; others are /dev/null), u32 uid, u32 gid, u32 credit of
 *             stdout, u32 credit of stderr, str file, str folder, u16 count, count * str argument,
 *             u16 count, count * str variable, u8 count, count * (u8 number, str name of a descriptor)
 *   3 input   u32 program, data
 *   4 close   u32 program                    end of its standard input
 *   5 credit  u32 program, u8 stream, u32 bytes
 *   6 signal  u32 program, u8 signal, u8 scope (0 the process, 1 its process group)
 *   7 kill    u32 nonce                      SIGKILL for every process but the agent
 *   8 phase   u32 nonce, u8 1 (remount read-only), str path
 *             u32 nonce, u8 2 (lower a limit), u8 limit, u64 value
 *             u32 nonce, u8 3 (kill writers below a path), str path
 *             u32 nonce, u8 4 (close writing: each mount read-only, remaining writers are killed)
 *             u32 nonce, u8 5 (lower memory), u64 bytes above those in use at the claim
 *             u32 nonce, u8 6 (replace the profile of AppArmor), u8 classes of calls that it closes (1 exec, 2 process,
 *             4 network, 8 write, 16 outside; no less than before), data in the binary form of the kernel
 *   9 list    u32 nonce, u32 skip, str path within the overlay ("" is the overlay itself)
 *  10 status  u32 nonce
 *  11 renew   u32 nonce, u16+bytes seed (32 to 256), u64 time in ns: after the machine was paused, any number of times;
 *             before the claim also its other steps, with names that the claim replaces
 *  12 hold    u32 nonce, u8 (1: freeze the processes of the job's cgroup, 0: thaw them). While they are frozen, a second claim
 *             turns a copy into another guest
 *  13 look    u32 nonce, u8 folder, u32 skip, str path below it ("" is the folder itself): a list of a folder
 *  14 read    u32 nonce, u8 folder, u64 offset, u32 bytes (1 to 65536), str path below it: a part of a file, or the target of a link
 *  15 watch   u32 additional credit for observations; none before the first
 *  16 rule    u32 nonce, limits of a zone, u8 count, count * (str name of a program, or its absolute path; * matches any text): from now
 *             on each exec of such a program starts a zone. Rules are numbered from 0, and the first that matches applies
 *  17 bound   u32 nonce, u32 zone, limits that are lowered; others stay
 *  18 finish  u32 nonce, u32 zone                kills its processes
 *  Limits of a zone: u64 bytes of memory, u32 thousandths of a core, u32 processes; all bits set: none of its own
 *
 * From the agent
 *  65 hello    u32 initial credit of standard input of each program, in bytes; u8 abilities of this guest (1 limit the memory of its
 *              programs, 2 count them, 4 confine them by an AppArmor profile, 8 report their execs, 16 make zones of them)
 *  66 claimed  32 bytes SHA-256 of seed and boot_id, str boot_id, u8 count, count * (u8 step, u16 errno; 0 is done)
 *  67 started  u32 program, u32 pid
 *  68 output   u32 program, u8 stream (1 stdout, 2 stderr), data
 *  69 ended    u32 program, u8 stream
 *  70 credit   u32 program, u32 bytes of standard input
 *  71 exited   u32 program, u8 0 and exit code or 1 and signal, u64 cpu in us, u64 peak memory in KiB
 *  72 killed   u32 nonce, u8 (1: a process may be left)
 *  73 phased   u32 nonce, u16 errno, u32 processes touched
 *  74 listed   u32 nonce, u16 errno, u8 more, u16 count, count * (str name, u8 type, u64 size, u64 mtime in ns)
 *  75 statused u32 nonce, u32 processes, u64 OOM kills, u64 bytes in use, u64 tasks that the limit of the job refused, u32 tasks of the
 *              job, u32 most of them so far, u8 (1: the overlay, /tmp or /dev/shm is full),
 *              u16 count, count * (u32 pid, u32 ppid, str name, u64 cpu in us, u64 rss in KiB)
 *  76 refused  u8 kind, u32 program or nonce (0 for a claim), u8 stage, u16 errno
 *  77 lost     u8 code; last frame: the agent kills everything and exits with that code
 *  78 renewed  u32 nonce, u16 errno of the entropy, of the reseed and of the clock
 *  79 held     u32 nonce, u16 errno
 *  80 chunk    u32 nonce, u16 errno, u8 (1 file, 2 link), u32 mode, u32 uid, u64 size, data
 *  81 seen     u8 kind, u32 pid (0: unknown), u64 monotonic time in us, u32 observations dropped so far, and
 *              1 exec: u64 time in us of the last change of the file, on the same clock (0: before its start), str path
 *              2 refused: u8 class, str operation, str path, family or capability
 *              3 exit of a process whose exec was reported: u8 0 and exit code or 1 and signal
 *              4 OOM kill of the job: u64 count so far
 *  82 zoned    u32 nonce, u16 errno
 *  83 zone     u8 1 began: u32 zone, numbered from 1, u8 rule, u32 zone around it (0: none), str last bytes of the path of the file
 *              u8 2 gone: u32 zone, u8 (1: by an OOM kill at its limit or at one around it), u64 peak memory in bytes
 *              u8 3 refused exec: u32 0, u8 rule, u32 zone around it, u16 errno, str last bytes of the path of the file
 *
 * Folders: 0 the overlay, 1 /tmp, 2 /dev/shm, 3 /run, 4 /run/result, 5 /proc.
 */
#ifndef AGENT_WIRE_H
#define AGENT_WIRE_H

enum { WIRE_VERSION = 1 };
enum { CLAIM = 1, RUN, INPUT, CLOSE, CREDIT, SIGNAL, KILL, PHASE, LIST, STATUS, RENEW, HOLD, LOOK, READ, WATCH, RULE, BOUND, FINISH, KINDS_END };
enum { HELLO = 65, CLAIMED, STARTED, OUTPUT, ENDED, INPUT_CREDIT, EXITED, KILLED, PHASED, LISTED, STATUSED, REFUSED, LOST, RENEWED, HELD, CHUNK, SEEN, ZONED, ZONE };

/* Codes of `lost`, and of the process. */
enum {
  CHANNEL_ENDED = 0,
  BAD_LENGTH = 10,
  BAD_KIND = 11,
  BAD_VERSION = 12,
  BAD_PAYLOAD = 13,
  BAD_CREDIT = 14,
  BAD_START = 15,
  NOT_PID_1 = 16,
  BROKEN_CHANNEL = 17,
  BROKEN_AGENT = 18,
  /* Steps of a boot. The first two precede the channel. */
  BOOT_MOUNTS = 20,
  BOOT_CHANNEL = 21,
  BOOT_MODULES = 22,
  BOOT_SETTINGS = 23,
  BOOT_IMAGE = 24,
  BOOT_OVERLAY = 25,
  BOOT_DEVICES = 26,
  BOOT_ROOT = 27,
};

/* Steps of a claim, and stages of a start that can be refused. */
enum { STEP_ENTROPY = 1, STEP_RESEED, STEP_CLOCK, STEP_HOSTNAME, STEP_MACHINE_ID, STEP_LABELS, STEP_MEMORY, STEP_LIMIT };
enum { STAGE_CHECK = 0, STAGE_FORK, STAGE_DESCRIPTOR, STAGE_LIMITS, STAGE_USER, STAGE_FOLDER, STAGE_EXEC };
enum { PLACE_OVERLAY = 0, PLACE_TMP, PLACE_SHM, PLACE_RUN, PLACE_RESULT, PLACE_PROC, PLACES };
enum { PHASE_READ_ONLY = 1, PHASE_LIMIT, PHASE_WRITERS, PHASE_WRITING, PHASE_MEMORY, PHASE_POLICY };
enum { CAN_LIMIT_MEMORY = 1, CAN_COUNT_TASKS = 2, CAN_CONFINE = 4, CAN_WATCH = 8, CAN_ZONE = 16 };
enum { SEEN_EXEC = 1, SEEN_REFUSAL, SEEN_EXIT, SEEN_OOM };
enum { ZONE_BEGAN = 1, ZONE_GONE, ZONE_REFUSED };
/* Classes of refusals: those of a profile, by number, and others. */
enum {
  REFUSED_EXEC = 0,
  REFUSED_NETWORK = 2,
  REFUSED_WRITE,
  REFUSED_OUTSIDE,
  REFUSED_DEBUG,
  REFUSED_MOUNT,
  REFUSED_NAMESPACE,
  REFUSED_MODULE,
  REFUSED_RAW_SOCKET,
  REFUSED_SIGNAL,
  REFUSED_CAPABILITY,
  REFUSED_OTHER,
};

enum {
  HEADER_BYTES = 5,
  PATH_BYTES_MAX = 4095,
  NAME_BYTES_MAX = 255,
  ID_BYTES_MAX = 64,
  SEED_BYTES_MIN = 32,
  SEED_BYTES_MAX = 256,
  LABELS_MAX = 16,
  LIMITS = 4,
  STREAM_BYTES_MAX = 16384,
  INPUT_BYTES_MAX = 65536,
  CREDIT_MAX = 1 << 30,
  WORDS_MAX = 256,
  DESCRIPTORS_MAX = 8,
  DESCRIPTOR_FIRST = 3,
  DESCRIPTOR_LAST = 63,
  PROGRAMS_MAX = 16,
  ENTRIES_MAX = 256,
  STATUS_MAX = 512,
  SKIP_MAX = 65536,
  CHUNK_BYTES_MAX = 65536,
  POLICY_BYTES_MAX = 32768,
  SEEN_TEXT_BYTES_MAX = 255,
  SEEN_CREDIT_MAX = 4096,
  /* Zones at a time, zones in the life of a guest, zones within each other, and reports of refused ones. */
  ZONES_MAX = 16,
  ZONES_MADE_MAX = 250,
  ZONE_DEPTH_MAX = 6,
  ZONE_REFUSALS_MAX = 50,
  ZONE_RULES_MAX = 32,
  ZONE_NAMES_MAX = 16,
  ZONE_NAME_BYTES_MAX = 1024,
  /* Payloads, by kind. */
  CLAIM_BYTES_MAX = 8192,
  RUN_BYTES_MAX = 65536,
  SHORT_BYTES_MAX = 16,
  RENEW_BYTES_MAX = SEED_BYTES_MAX + 16,
  PATH_FRAME_BYTES_MAX = PATH_BYTES_MAX + 32,
  POLICY_FRAME_BYTES_MAX = POLICY_BYTES_MAX + 8,
  BOUND_BYTES_MAX = 32,
  RULE_BYTES_MAX = ZONE_NAMES_MAX * (ZONE_NAME_BYTES_MAX + 2) + 32,
  FRAME_BYTES_MAX = RUN_BYTES_MAX,
  /* Largest answer: a list of ENTRIES_MAX names of NAME_BYTES_MAX bytes. */
  ANSWER_BYTES_MAX = 98304,
};

#endif

/**
 * The one file that calls into libc, by Node's own `node:ffi`; `koffi` can replace it here and nowhere else.
 *
 * Plain JavaScript, because programs inside walls load it too. Raw `syscall(2)` is used rather than glibc's wrappers:
 * it is equal on glibc and musl, and glibc's setuid family would change the credentials of every thread, which a
 * process about to `execve` does not need: the calling thread is sufficient, and `execve` ends the others.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'

/** Call numbers: [x86-64, arm64], of the calls in this file; policies have the whole table. */
const NUMBERS = {
  fcntl: [72, 25],
  flock: [73, 32],
  lgetxattr: [192, 9],
  prctl: [157, 167],
  setresuid: [117, 147],
  setresgid: [119, 149],
  setfsuid: [122, 151],
  setfsgid: [123, 152],
  setgroups: [116, 159],
  sethostname: [170, 161],
  capset: [126, 91],
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  exit_group: [231, 94],
  seccomp: [317, 277],
  prlimit64: [302, 261],
  move_mount: [429, 429],
  open_tree: [428, 428],
  close_range: [436, 436],
  mount_setattr: [442, 442],
  landlock_create_ruleset: [444, 444],
  landlock_add_rule: [445, 445],
  landlock_restrict_self: [446, 446],
  openat: [257, 56],
  socket: [41, 198],
  socketpair: [53, 199],
  pipe2: [293, 59],
  sendmsg: [46, 211],
  wait4: [61, 260],
  execve: [59, 221],
  clone: [56, 220],
  ptrace: [101, 117],
  kill: [62, 129],
  getpriority: [140, 141],
  getrusage: [98, 165],
  bpf: [321, 280],
  io_uring_setup: [425, 425],
  unshare: [272, 97],
  keyctl: [250, 219],
  userfaultfd: [323, 282],
  perf_event_open: [298, 241],
  memfd_create: [319, 279],
  pidfd_open: [434, 434],
  pidfd_getfd: [438, 438],
  ioctl: [16, 29],
  bind: [49, 200],
  listen: [50, 201],
  dup3: [292, 24],
  ppoll: [271, 73],
  process_vm_readv: [310, 270],
  open_by_handle_at: [304, 265],
  name_to_handle_at: [303, 264],
  setns: [308, 268],
  fanotify_init: [300, 262],
  init_module: [175, 105],
  chroot: [161, 51],
  add_key: [248, 217],
  personality: [135, 92],
}

const ERRNO = {
  1: 'EPERM',
  2: 'ENOENT',
  3: 'ESRCH',
  4: 'EINTR',
  9: 'EBADF',
  10: 'ECHILD',
  11: 'EAGAIN',
  12: 'ENOMEM',
  13: 'EACCES',
  14: 'EFAULT',
  16: 'EBUSY',
  17: 'EEXIST',
  19: 'ENODEV',
  20: 'ENOTDIR',
  22: 'EINVAL',
  23: 'ENFILE',
  24: 'EMFILE',
  25: 'ENOTTY',
  28: 'ENOSPC',
  30: 'EROFS',
  34: 'ERANGE',
  38: 'ENOSYS',
  61: 'ENODATA',
  75: 'EOVERFLOW',
  95: 'EOPNOTSUPP',
  97: 'EAFNOSUPPORT',
}

const column = process.arch === 'arm64' ? 1 : 0

/** @type {{ syscall: (...args: bigint[]) => bigint, errno: () => number, pointer: (b: Uint8Array) => bigint } | undefined} */
let loaded

function libc() {
  if (loaded) return loaded
  const ffi = createRequire(import.meta.url)('node:ffi')
  const { functions } = ffi.dlopen(null, {
    syscall: { arguments: ['i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64'], return: 'i64' },
    __errno_location: { arguments: [], return: 'pointer' },
  })
  const where = functions.__errno_location()
  loaded = {
    syscall: functions.syscall,
    errno: () => ffi.getInt32(where, 0),
    pointer: (bytes) => ffi.getRawPointer(bytes),
  }
  return loaded
}

/** Error of a failed system call: `code` is the errno's name. */
export class SystemCallError extends Error {
  /** @param {string} call @param {number} errno */
  constructor(call, errno) {
    const code = ERRNO[/** @type {keyof typeof ERRNO} */ (errno)] ?? `errno ${errno}`
    super(`${call}: ${code}`)
    this.name = 'SystemCallError'
    this.code = code
    this.call = call
  }
}

/**
 * Bytes whose addresses a call has; reachable from here, so that none is collected before it returns.
 * @type {(readonly unknown[])[]}
 */
const inUse = []

/**
 * Result of `act`, which may take addresses of these bytes, and of no others. An address keeps nothing alive: optimised code
 * lets a buffer go after its last use by name, and a call that is given the address later would read and write freed memory.
 * @template T @param {readonly unknown[]} bytes @param {() => T} act @returns {T}
 */
function whileHeld(bytes, act) {
  inUse.push(bytes)
  try {
    return act()
  } finally {
    inUse.pop()
  }
}

/**
 * @param {keyof typeof NUMBERS} call
 * @param {...(number | bigint | string | Uint8Array | null)} args text is passed NUL-terminated, null as 0
 * @returns {number}
 */
function sys(call, ...args) {
  const c = libc()
  const held = args.map((arg) => (typeof arg === 'string' ? Buffer.from(`${arg}\0`) : arg))
  return whileHeld(held, () => {
    const words = held.map((arg) =>
      arg === null
        ? 0n
        : typeof arg === 'object'
          ? c.pointer(/** @type {Uint8Array} */ (arg))
          : BigInt(arg),
    )
    while (words.length < 6) words.push(0n)
    const result = Number(c.syscall(BigInt(NUMBERS[call][column] ?? -1), ...words))
    if (result < 0) throw new SystemCallError(call, c.errno())
    return result
  })
}

/** @type {((bytes: bigint) => number) | undefined} */
let mallocTrim

/** Returns free pages of malloc's arenas to the kernel (malloc_trim(3)); no effect without glibc. */
export function trimHeap() {
  try {
    // Kept: a library of the FFI that is collected as garbage is unloaded.
    mallocTrim ??= /** @type {(bytes: bigint) => number} */ (
      createRequire(import.meta.url)('node:ffi').dlopen(null, {
        malloc_trim: { arguments: ['u64'], return: 'i32' },
      }).functions.malloc_trim
    )
    mallocTrim(0n)
  } catch {
    // Free pages stay with malloc, for later.
  }
}

const PR = { setPdeathsig: 1, setDumpable: 4, capbsetDrop: 24, setNoNewPrivs: 38 }

/** The kernel kills this process when the thread that started it ends. Cleared by every change of uid.
 * @param {number} signal */
export const setParentDeathSignal = (signal) => sys('prctl', PR.setPdeathsig, signal)
export const setNoNewPrivileges = () => sys('prctl', PR.setNoNewPrivs, 1)
/** @param {string} name */
export const setHostname = (name) => sys('sethostname', name, name.length)
/** Marks descriptors from `first` up as closed on exec. @param {number} first */
export const closeOnExecFrom = (first) => sys('close_range', first, 0xffffffff, 4)
/** @param {number} fd */
export const keepOverExec = (fd) => sys('fcntl', fd, 2, 0)
/**
 * Takes an exclusive flock(2), a mutex between processes that is released with the descriptor; false if another process
 * has it.
 * @param {number} fd
 */
export function tryLock(fd) {
  try {
    sys('flock', fd, 2 | 4)
    return true
  } catch (error) {
    if (error instanceof SystemCallError && error.code === 'EAGAIN') return false
    throw error
  }
}
const ATTRIBUTE_BYTES_MAX = 256
/**
 * Value of an extended attribute of at most 256 bytes, of a link itself; undefined where the file has none
 * (lgetxattr(2)).
 * @param {string} path @param {string} name @returns {Buffer | undefined}
 */
export function extendedAttribute(path, name) {
  const value = Buffer.alloc(ATTRIBUTE_BYTES_MAX)
  try {
    return value.subarray(0, sys('lgetxattr', path, name, value, value.length))
  } catch (error) {
    const code = error instanceof SystemCallError ? error.code : ''
    if (code === 'ENODATA' || code === 'EOPNOTSUPP') return undefined
    throw error
  }
}
/** True if any process of a user exists; uses getpriority(2), because /proc may hide processes. @param {number} uid */
export function userHasProcesses(uid) {
  try {
    sys('getpriority', 2, uid)
    return true
  } catch (error) {
    if (error instanceof SystemCallError && error.code === 'ESRCH') return false
    throw error
  }
}
/** Exits at once, without exit handlers or destructors. @param {number} status @returns {never} */
export function exitNow(status) {
  // macOS: no call here has its number; a signal to itself runs no exit handler either.
  if (process.platform === 'darwin') process.kill(process.pid, 'SIGKILL')
  sys('exit_group', status)
  throw new Error('unreachable')
}

/** @param {number} uid @param {number} gid */
export function becomeUser(uid, gid) {
  sys('setgroups', 0, null)
  sys('setresgid', gid, gid, gid)
  sys('setresuid', uid, uid, uid)
}

/** Empties the bounding set: no exec can gain a capability. Needs CAP_SETPCAP, so before a change of uid. */
export function emptyBoundingSet() {
  for (let capability = 0; capability <= 40; capability++) {
    try {
      sys('prctl', PR.capbsetDrop, capability)
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== 'EINVAL') throw error
      break
    }
  }
}

/** Gives up every capability of this thread. */
export function dropCapabilities() {
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0x20080522, 0)
  sys('capset', header, Buffer.alloc(24))
}

const RLIMIT = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
}

/** Sets soft and hard limit alike, of this process or of `pid`.
 * @param {keyof typeof RLIMIT} name @param {number} value @param {number} [pid] */
export function limitResource(name, value, pid = 0) {
  const pair = Buffer.alloc(16)
  pair.writeBigUInt64LE(BigInt(value), 0)
  pair.writeBigUInt64LE(BigInt(value), 8)
  sys('prlimit64', pid, RLIMIT[name], pair, null)
}

/** Lowers both limits of this process to `value`; a lower limit stays. No effect on macOS, which dumps no core by default.
 * @param {keyof typeof RLIMIT} name @param {number} value */
export function capResource(name, value) {
  if (process.platform === 'darwin') return
  const pair = Buffer.alloc(16)
  sys('prlimit64', 0, RLIMIT[name], null, pair)
  const hard = pair.readBigUInt64LE(8)
  limitResource(name, hard < BigInt(value) ? Number(hard) : value)
}

/** Soft limit in force; Infinity if unlimited.
 * @param {keyof typeof RLIMIT} name @param {number} [pid] @returns {number} the soft limit */
export function resourceLimit(name, pid = 0) {
  const pair = Buffer.alloc(16)
  sys('prlimit64', pid, RLIMIT[name], null, pair)
  const soft = pair.readBigUInt64LE(0)
  return soft === 0xffff_ffff_ffff_ffffn ? Infinity : Number(soft)
}

/** CPU time in milliseconds of reaped children and their reaped descendants (RUSAGE_CHILDREN). */
export function childrenCpuMs() {
  if (process.platform === 'darwin') return 0
  if (!hasWaitedForChildren()) return 0
  const usage = Buffer.alloc(144)
  sys('getrusage', -1, usage)
  const ms = (/** @type {number} */ at) =>
    Number(usage.readBigInt64LE(at)) * 1000 + Number(usage.readBigInt64LE(at + 8)) / 1000
  return ms(0) + ms(16)
}

/** Largest resident size of a reaped child or descendant in bytes; 0 without one (RUSAGE_CHILDREN). */
export function childrenPeakBytes() {
  if (process.platform === 'darwin' || !hasWaitedForChildren()) return 0
  const usage = Buffer.alloc(144)
  sys('getrusage', -1, usage)
  return Number(usage.readBigInt64LE(32)) * 1024
}

/** False once a user-space kernel was seen to count no page faults: its /proc/self/stat costs five calls, each read in vain. */
let countsFaults = true

/** False if no child's page fault was counted (cminflt in proc(5)): cheaper than the first call into libc. */
function hasWaitedForChildren() {
  if (!countsFaults) return true
  try {
    const stat = ownStat()
    const [own, children] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(7, 9)
    countsFaults = own !== '0'
    return !countsFaults || children !== '0'
  } catch {
    return true
  }
}

const STAT_BYTES_MAX = 1024

/** Three calls: `readFileSync` asks for the size as well, and reads on to the end. */
function ownStat() {
  const fd = openSync('/proc/self/stat', 'r')
  try {
    const bytes = Buffer.alloc(STAT_BYTES_MAX)
    return bytes.toString('latin1', 0, readSync(fd, bytes, 0, STAT_BYTES_MAX, null))
  } finally {
    closeSync(fd)
  }
}

/**
 * Runs `act` with another real uid and gid: prlimit(2) compares these, and root without CAP_SYS_RESOURCE may set limits
 * only of processes with the same ones. Changes this thread only, and keeps the effective ids. Until it returns,
 * processes of that user may send this one signals.
 * @param {number} uid @param {() => void} act
 */
export function asRealUser(uid, act) {
  const [ownUid, ownGid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
  const same = -1
  try {
    sys('setresgid', uid, same, same)
    sys('setresuid', uid, same, same)
    act()
  } finally {
    sys('setresuid', ownUid, same, same)
    sys('setresgid', ownGid, same, same)
  }
}

/**
 * Runs `act` with another file system uid, also for access to that user's processes (setfsuid(2)); changes this thread
 * only. The kernel returns the previous id and never an error.
 * @template T @param {number} uid @param {() => T} act @returns {T}
 */
export function asFileUser(uid, act) {
  const [ownUid, ownGid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0]
  try {
    sys('setfsgid', uid)
    sys('setfsuid', uid)
    return act()
  } finally {
    sys('setfsuid', ownUid)
    sys('setfsgid', ownGid)
  }
}

/**
 * Copies a descriptor of another process (pidfd_getfd(2)), which takes PTRACE_MODE_ATTACH rights over it.
 * @param {number} pid @param {number} fd its number there @returns {number} ours, closed on exec
 */
export function copyDescriptor(pid, fd) {
  const process = openProcess(pid)
  try {
    return sys('pidfd_getfd', process, fd, 0)
  } finally {
    closeSync(process)
  }
}

const MS = { rdonly: 1, nosuid: 2, nodev: 4, noexec: 8, bind: 4096, rec: 16384, private: 1 << 18 }
const OPEN_TREE_CLONE = 1
const O_CLOEXEC = 0o2000000
const AT_RECURSIVE = 0x8000
const AT_EMPTY_PATH = 0x1000
const AT_FDCWD = -100

/** Detached copy of the mount at `path` (open_tree(2)), for `attachTree`. @param {string} path */
export const cloneTree = (path) =>
  sys('open_tree', AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE)

/** Mounts a cloned tree at `path`, recursively read-only, nosuid, nodev. @param {number} tree @param {string} path */
export function attachTree(tree, path) {
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(BigInt(MS.rdonly | MS.nosuid | MS.nodev), 0)
  sys('mount_setattr', tree, '', AT_EMPTY_PATH | AT_RECURSIVE, attributes, 32)
  sys('move_mount', tree, '', AT_FDCWD, path, 4)
}

/** Mounts a cloned tree at `path` as it is: writable, with its devices. @param {number} tree @param {string} path */
export const attachAsIs = (tree, path) => sys('move_mount', tree, '', AT_FDCWD, path, 4)

/** A fresh tmpfs of at most `bytes`. @param {string} path @param {number} bytes @param {string} [options] */
export const mountTmpfs = (path, bytes, options = 'nr_inodes=4096,mode=755') =>
  sys('mount', 'mayfly', path, 'tmpfs', MS.nosuid | MS.nodev, `size=${bytes},${options}`)

/**
 * Mounts a /proc of this PID namespace. The kernel refuses it if the current /proc is itself masked.
 * @param {string} path
 */
export const mountProc = (path) =>
  sys('mount', 'proc', path, 'proc', MS.nosuid | MS.nodev | MS.noexec, null)

/**
 * Mounts a devpts at `path`; if the kernel refuses it the folder stays empty, and no terminal can be opened.
 * @param {string} path @param {string} options
 */
export function mountTerminals(path, options) {
  try {
    sys('mount', 'mayfly', path, 'devpts', MS.nosuid | MS.noexec, options)
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error
  }
}

/** Detaches the mount at `path`; clones of it stay. @param {string} path */
export const detach = (path) => sys('umount2', path, 2)

/** @param {string} path */
export const makeReadOnly = (path) =>
  sys('mount', null, path, null, 32 | MS.bind | MS.rdonly | MS.nosuid | MS.nodev | MS.noexec, null)

export const makeMountsPrivate = () => sys('mount', null, '/', null, MS.rec | MS.private, null)

/** Makes the working directory the root (pivot_root(2)) and detaches the old root. */
export function pivotHere() {
  sys('pivot_root', '.', '.')
  sys('umount2', '.', 2)
}

const AF_INET = 2
const SOCK_STREAM = 1
const SIOCSIFFLAGS = 0x8914
const IFF_UP = 1
const NAME_BYTES = 16

/** Brings the loopback of this network namespace up. Needs CAP_NET_ADMIN in it. */
export function raiseLoopback() {
  const fd = sys('socket', AF_INET, SOCK_STREAM, 0)
  const request = Buffer.alloc(40)
  request.write('lo')
  request.writeUInt16LE(IFF_UP, NAME_BYTES)
  sys('ioctl', fd, SIOCSIFFLAGS, request)
  closeSync(fd)
}

const POLLIN = 1

/**
 * True if `fd` becomes readable, or is at EOF, within `ms` milliseconds (poll(2)).
 * @param {number} fd @param {number} ms
 */
export function isReadable(fd, ms) {
  const asked = Buffer.alloc(8)
  asked.writeInt32LE(fd, 0)
  asked.writeInt16LE(POLLIN, 4)
  const time = Buffer.alloc(16)
  time.writeBigInt64LE(BigInt(Math.floor(ms / 1000)), 0)
  time.writeBigInt64LE(BigInt((ms % 1000) * 1e6), 8)
  return sys('ppoll', asked, 1, time, null, 0) > 0
}

/**
 * Descriptor of a process, closed on exec (pidfd_open(2)); it becomes readable when the process ends.
 * @param {number} pid
 */
export const openProcess = (pid) => sys('pidfd_open', pid, 0)

const POLL_BYTES = 8
const AT_ONCE = Buffer.alloc(16)

/** True if none of these processes has ended. @param {readonly number[]} processes descriptors of `openProcess` */
export function areAllRunning(processes) {
  const asked = Buffer.alloc(processes.length * POLL_BYTES)
  processes.forEach((fd, index) => {
    asked.writeInt32LE(fd, index * POLL_BYTES)
    asked.writeInt16LE(POLLIN, index * POLL_BYTES + 4)
  })
  return retried(() => sys('ppoll', asked, processes.length, AT_ONCE, null, 0)) === 0
}

/** Result of a call that a signal may interrupt. @param {() => number} call */
function retried(call) {
  for (;;) {
    try {
      return call()
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== 'EINTR') throw error
    }
  }
}

const TIOCGPGRP = 0x540f
const TIOCSWINSZ = 0x5414
const TIOCSPTLCK = 0x40045431
const TIOCGPTN = 0x80045430

/** Unlocks the slave of a new terminal; returns its number in /dev/pts. @param {number} master */
export function unlockTerminal(master) {
  const number = Buffer.alloc(4)
  sys('ioctl', master, TIOCSPTLCK, Buffer.alloc(4))
  sys('ioctl', master, TIOCGPTN, number)
  return number.readUInt32LE(0)
}

/** Duplicates a descriptor, closed on exec. @param {number} fd @param {number} [least] its lowest number */
export const duplicate = (fd, least = 3) => sys('fcntl', fd, 1030, least)

const AF_UNIX = 1
const SOCK_CLOEXEC = 0o2000000

/** Both ends of a new socket pair, closed on exec. @returns {[number, number]} */
export function socketPair() {
  const pair = Buffer.alloc(8)
  sys('socketpair', AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)
  return [pair.readInt32LE(0), pair.readInt32LE(4)]
}

/** A new pipe, closed on exec. A program can open its end anew by /dev/stdout, which it cannot with a socket. @returns {{ read: number, write: number }} */
export function pipe() {
  const ends = Buffer.alloc(8)
  sys('pipe2', ends, SOCK_CLOEXEC)
  return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) }
}

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
/** MSG_DONTWAIT and MSG_NOSIGNAL. */
const SEND_FLAGS = 0x4040
const CONTROL_HEAD_BYTES = 16

/**
 * Fd passing: sends bytes with descriptors (SCM_RIGHTS) over a stream of AF_UNIX, without blocking. Returns the number
 * of bytes sent; throws SystemCallError EAGAIN if the socket buffer is full.
 * @param {number} socket @param {Uint8Array} bytes @param {readonly number[]} fds at least one
 */
export function sendDescriptors(socket, bytes, fds) {
  const c = libc()
  const control = Buffer.alloc(CONTROL_HEAD_BYTES + Math.ceil(fds.length / 2) * 8)
  const length = CONTROL_HEAD_BYTES + fds.length * 4
  control.writeBigUInt64LE(BigInt(length), 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  fds.forEach((fd, index) => control.writeInt32LE(fd, CONTROL_HEAD_BYTES + 4 * index))
  const part = Buffer.alloc(16)
  const message = Buffer.alloc(56)
  return whileHeld([bytes, control, part], () => {
    part.writeBigUInt64LE(c.pointer(bytes), 0)
    part.writeBigUInt64LE(BigInt(bytes.length), 8)
    message.writeBigUInt64LE(c.pointer(part), 16)
    message.writeBigUInt64LE(1n, 24)
    message.writeBigUInt64LE(c.pointer(control), 32)
    message.writeBigUInt64LE(BigInt(control.length), 40)
    return retried(() => sys('sendmsg', socket, message, SEND_FLAGS))
  })
}

const WNOHANG = 1

/**
 * Reaps a child that has ended. Undefined while it runs.
 * @param {number} pid @returns {{ code: number | null, signal: number | null } | undefined}
 */
export function reap(pid) {
  const status = Buffer.alloc(8)
  if (retried(() => sys('wait4', pid, status, WNOHANG, null)) === 0) return undefined
  const bits = status.readInt32LE(0)
  const signal = bits & 0x7f
  return signal === 0 ? { code: (bits >> 8) & 0xff, signal: null } : { code: null, signal }
}

/** Bytes of posix_spawnattr_t and posix_spawn_file_actions_t: more than glibc (336, 80) and musl (336, 80) take. */
const SPAWN_TYPE_BYTES = 512
const SPAWN_SETSIGDEF = 0x04
const SPAWN_SETSIGMASK = 0x08
const SPAWN_SETSID = 0x80
/**
 * All signals but SIGKILL (9) and SIGSTOP (19), including glibc's own (32, 33), which it would otherwise ignore in the
 * child.
 */
const SIGNALS = 0xffff_ffff_ffff_ffffn & ~(1n << 8n) & ~(1n << 18n)
const SIGNAL_SET_BYTES = 128

/** @type {((file: string, args: readonly string[], env: readonly string[], fds: readonly (readonly [number, number])[], count: number) => number) | null | undefined} */
let spawning

/**
 * Starts a program by posix_spawn(3), which shares the memory of this process with the child until its exec
 * (CLONE_VFORK): fork(2) copies the page tables, 1 to 12 ms here. The child has a session of its own, the folder `/`,
 * no ignored or blocked signals, and the descriptors of `fds`: each first number is duplicated to the second. Before
 * glibc 2.34 it also inherits descriptors without close-on-exec. No first number may be below a second one. Returns its
 * pid, or undefined if libc has no posix_spawn(3).
 * @param {string} file @param {readonly string[]} args `args[0]` included @param {readonly string[]} env
 * @param {readonly (readonly [number, number])[]} fds @param {number} count descriptors from here on are closed
 */
export function spawnProcess(file, args, env, fds, count) {
  if (spawning === undefined) spawning = makeSpawning()
  return spawning?.(file, args, env, fds, count)
}

function makeSpawning() {
  const ffi = createRequire(import.meta.url)('node:ffi')
  const p = 'pointer'
  const int = (/** @type {string[]} */ ...args) => ({ arguments: args, return: 'i32' })
  let f
  try {
    f = ffi.dlopen(null, {
      posix_spawn: int(p, p, p, p, p, p),
      posix_spawnattr_init: int(p),
      posix_spawnattr_setflags: int(p, 'i16'),
      posix_spawnattr_setsigdefault: int(p, p),
      posix_spawnattr_setsigmask: int(p, p),
      posix_spawn_file_actions_init: int(p),
      posix_spawn_file_actions_destroy: int(p),
      posix_spawn_file_actions_adddup2: int(p, 'i32', 'i32'),
      posix_spawn_file_actions_addchdir_np: int(p, p),
    }).functions
  } catch {
    return null
  }
  const closeFrom = closingFrom(ffi, int(p, 'i32'))
  const at = (/** @type {Uint8Array} */ bytes) => ffi.getRawPointer(bytes)
  const must = (/** @type {number} */ errno) => {
    if (errno !== 0) throw new SystemCallError('posix_spawn', errno)
  }
  const root = Buffer.from('/\0')
  const attributes = Buffer.alloc(SPAWN_TYPE_BYTES)
  const set = Buffer.alloc(SIGNAL_SET_BYTES)
  whileHeld([attributes, set], () => {
    must(f.posix_spawnattr_init(at(attributes)))
    must(f.posix_spawnattr_setsigmask(at(attributes), at(set)))
    set.writeBigUInt64LE(SIGNALS, 0)
    must(f.posix_spawnattr_setsigdefault(at(attributes), at(set)))
    const flags = SPAWN_SETSIGDEF | SPAWN_SETSIGMASK | SPAWN_SETSID
    must(f.posix_spawnattr_setflags(at(attributes), flags))
  })
  return (
    /** @type {string} */ file,
    /** @type {readonly string[]} */ args,
    /** @type {readonly string[]} */ env,
    /** @type {readonly (readonly [number, number])[]} */ fds,
    /** @type {number} */ count,
  ) => {
    const program = Buffer.from(`${file}\0`)
    const [words, variables] = [vectorOf(args, at), vectorOf(env, at)]
    const actions = Buffer.alloc(SPAWN_TYPE_BYTES)
    const pid = Buffer.alloc(8)
    return whileHeld([program, words, variables, actions, pid, attributes, root], () => {
      must(f.posix_spawn_file_actions_init(at(actions)))
      try {
        for (const [from, to] of fds)
          must(f.posix_spawn_file_actions_adddup2(at(actions), from, to))
        if (closeFrom) must(closeFrom(at(actions), count))
        must(f.posix_spawn_file_actions_addchdir_np(at(actions), at(root)))
        const vectors = [at(words.vector), at(variables.vector)]
        must(f.posix_spawn(at(pid), at(program), at(actions), at(attributes), ...vectors))
      } finally {
        f.posix_spawn_file_actions_destroy(at(actions))
      }
      return pid.readInt32LE(0)
    })
  }
}

/**
 * Function posix_spawn_file_actions_addclosefrom_np; undefined before glibc 2.34.
 * @param {any} ffi @param {object} type
 */
function closingFrom(ffi, type) {
  try {
    const name = 'posix_spawn_file_actions_addclosefrom_np'
    return ffi.dlopen(null, { [name]: type }).functions[name]
  } catch {
    return undefined
  }
}

/**
 * A NULL-terminated vector of pointers to texts. `bytes` contains the texts: the caller must keep a reference while the
 * vector is used.
 * @param {readonly string[]} texts @param {(bytes: Uint8Array) => bigint} at
 */
function vectorOf(texts, at) {
  const bytes = Buffer.from(`${texts.join('\0')}\0`)
  const vector = Buffer.alloc((texts.length + 1) * 8)
  let from = at(bytes)
  texts.forEach((text, index) => {
    vector.writeBigUInt64LE(from, index * 8)
    from += BigInt(Buffer.byteLength(text) + 1)
  })
  return { bytes, vector }
}

/** @param {number} master @param {number} cols @param {number} rows */
export function resizeTerminal(master, cols, rows) {
  const size = Buffer.alloc(8)
  size.writeUInt16LE(rows, 0)
  size.writeUInt16LE(cols, 2)
  sys('ioctl', master, TIOCSWINSZ, size)
}

/** Foreground process group of a terminal; 0 if it is unknown. @param {number} master */
export function foregroundOf(master) {
  const group = Buffer.alloc(4)
  try {
    sys('ioctl', master, TIOCGPGRP, group)
  } catch {
    return 0
  }
  return group.readInt32LE(0)
}

const LOOPBACK = 0x0100007f
const BACKLOG = 64

/** A socket that listens on 127.0.0.1:`port`, as descriptor `fd`. @param {number} port @param {number} fd */
export function listenOnLoopback(port, fd) {
  const socket = sys('socket', AF_INET, SOCK_STREAM, 0)
  const address = Buffer.alloc(16)
  address.writeUInt16LE(AF_INET, 0)
  address.writeUInt16BE(port, 2)
  address.writeUInt32LE(LOOPBACK, 4)
  sys('bind', socket, address, address.length)
  sys('listen', socket, BACKLOG)
  sys('dup3', socket, fd, O_CLOEXEC)
  closeSync(socket)
}

/** Loads a filter for every thread of this process. @param {Uint8Array} program BPF, eight bytes an instruction */
export function loadSeccomp(program) {
  const c = libc()
  const fprog = Buffer.alloc(16)
  fprog.writeUInt16LE(program.length / 8, 0)
  const thread = whileHeld([program], () => {
    fprog.writeBigUInt64LE(c.pointer(program), 8)
    return sys('seccomp', 1, 1, fprog)
  })
  if (thread > 0) throw new SystemCallError('seccomp', 11)
}

/** Landlock file rights, by the ABI version that introduced them. */
const LANDLOCK_FS = { 1: (1n << 13n) - 1n, 2: 1n << 13n, 3: 1n << 14n, 5: 1n << 15n }
const READ = (1n << 2n) | (1n << 3n)
const EXECUTE = 1n
/** Execute, write, read, truncate, ioctl. */
const FILE_RIGHTS = 1n | (1n << 1n) | (1n << 2n) | (1n << 14n) | (1n << 15n)

/** Landlock ABI version of this kernel; 0 if there is none. */
export function landlockVersion() {
  try {
    return sys('landlock_create_ruleset', null, 0, 1)
  } catch {
    return 0
  }
}

/**
 * Restricts this thread and its children by Landlock: read and execute below `readable`, everything below `writable`,
 * no TCP, and from ABI 6 no signal and no abstract socket out of the domain. Needs no_new_privs.
 * @param {{ readable: readonly string[], writable?: readonly string[], open: (path: string) => { fd: number, folder: boolean } | undefined, net?: boolean, scope?: boolean }} to
 */
export function restrictFiles(to) {
  const version = landlockVersion()
  if (version === 0) throw new SystemCallError('landlock_create_ruleset', 95)
  let handled = 0n
  for (const [since, bits] of Object.entries(LANDLOCK_FS))
    if (version >= Number(since)) handled |= bits
  const ruleset = Buffer.alloc(24)
  ruleset.writeBigUInt64LE(handled, 0)
  if (version >= 4 && to.net !== false) ruleset.writeBigUInt64LE(3n, 8)
  if (version >= 6 && to.scope !== false) ruleset.writeBigUInt64LE(3n, 16)
  const fd = sys('landlock_create_ruleset', ruleset, version >= 6 ? 24 : version >= 4 ? 16 : 8, 0)
  for (const path of to.readable) allow(fd, to.open(path), READ | EXECUTE)
  for (const path of to.writable ?? []) allow(fd, to.open(path), handled)
  sys('landlock_restrict_self', fd, 0)
  closeSync(fd)
}

/** Adds a rule. A rule on a file may contain rights of files only (EINVAL); a missing path needs no rule.
 * @param {number} ruleset @param {{ fd: number, folder: boolean } | undefined} place @param {bigint} rights */
function allow(ruleset, place, rights) {
  if (!place) return
  const rule = Buffer.alloc(12)
  rule.writeBigUInt64LE(place.folder ? rights : rights & FILE_RIGHTS, 0)
  rule.writeInt32LE(place.fd, 8)
  sys('landlock_add_rule', ruleset, 1, rule, 0)
  closeSync(place.fd)
}

/**
 * Connects to a port of 127.0.0.1 by functions of POSIX, and closes. Throws SystemCallError.
 * @param {number} port
 */
export function connectOnLoopback(port) {
  const ffi = createRequire(import.meta.url)('node:ffi')
  const isMac = process.platform === 'darwin'
  const errnoPlace = isMac ? '__error' : '__errno_location'
  const { functions } = ffi.dlopen(null, {
    socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
    connect: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
    [errnoPlace]: { arguments: [], return: 'pointer' },
  })
  const errno = () => ffi.getInt32(functions[errnoPlace](), 0)
  const fd = functions.socket(AF_INET, SOCK_STREAM, 0)
  if (fd < 0) throw new SystemCallError('socket', errno())
  const address = Buffer.alloc(16)
  // BSD has a length before the family, where Linux has the family in two bytes.
  if (isMac) address.set([address.length, AF_INET])
  else address.writeUInt16LE(AF_INET, 0)
  address.writeUInt16BE(port, 2)
  address.set([127, 0, 0, 1], 4)
  try {
    const connect = () => functions.connect(fd, ffi.getRawPointer(address), address.length)
    if (whileHeld([address], connect) < 0) throw new SystemCallError('connect', errno())
  } finally {
    closeSync(fd)
  }
}

const [CTL_KERN, KERN_PROCARGS2, ARGUMENTS_BYTES] = [1, 49, 4096]

/** Reads the arguments of a process by sysctl(3) of macOS. Throws SystemCallError. @param {number} pid */
export function readArguments(pid) {
  const ffi = createRequire(import.meta.url)('node:ffi')
  const { functions } = ffi.dlopen(null, {
    sysctl: {
      arguments: ['pointer', 'u32', 'pointer', 'pointer', 'pointer', 'u64'],
      return: 'i32',
    },
    __error: { arguments: [], return: 'pointer' },
  })
  const [bytes, size] = [Buffer.alloc(ARGUMENTS_BYTES), Buffer.alloc(8)]
  size.writeBigUInt64LE(BigInt(bytes.length), 0)
  const name = Int32Array.of(CTL_KERN, KERN_PROCARGS2, pid)
  const held = [name, bytes, size]
  whileHeld(held, () => {
    const [at, into, sized] = held.map((one) => ffi.getRawPointer(one))
    if (functions.sysctl(at, name.length, into, sized, 0n, 0n) < 0)
      throw new SystemCallError('sysctl', ffi.getInt32(functions.__error(), 0))
  })
}

/** Calls forbidden to a warm worker, with arguments for which the kernel returns another errno than the filter. */
const FORBIDDEN = /** @type {const} */ ({
  openat: [-1, null, 0],
  socket: [2, 99, 0],
  execve: [null, null, null],
  // CLONE_SIGHAND without CLONE_VM is EINVAL: a filter that lets clone through is detected, and no process is made.
  clone: [0x800, null],
  ptrace: [99, 0, null, null],
  kill: [1, 99],
  bpf: [99, null, 0],
  io_uring_setup: [0, null],
  unshare: [1],
  mount: [null, null, null, 0, null],
  keyctl: [99],
  userfaultfd: [-1],
  perf_event_open: [null, 0, -1, -1, 0],
  memfd_create: [null, 0],
})

/** Calls forbidden to whole programs: those that affect the kernel itself or other processes. */
const FORBIDDEN_TO_PROGRAMS = /** @type {const} */ ({
  ptrace: [99, 0, null, null],
  process_vm_readv: [-1, null, 0, null, 0, 99],
  bpf: [99, null, 0],
  unshare: [0x80000000],
  setns: [-1, 0],
  mount: [null, null, null, 0, null],
  pivot_root: [null, null],
  chroot: [null],
  open_tree: [-1, null, 0],
  move_mount: [-1, null, -1, null, 0],
  open_by_handle_at: [-1, null, 0],
  name_to_handle_at: [-1, null, null, null, 0],
  keyctl: [99],
  add_key: [null, null, null, 0, 0],
  io_uring_setup: [0, null],
  userfaultfd: [-1],
  perf_event_open: [null, 0, -1, -1, 0],
  memfd_create: [null, 0],
  pidfd_getfd: [-1, -1, 0],
  fanotify_init: [-1, 0],
  init_module: [null, 0, null],
  personality: [0x0040000],
  // Address families with kernel tables behind them (AF_PACKET, AF_VSOCK, AF_ALG); a wrong type makes no socket.
  socket: [17, 99, 0],
  // CLONE_NEWUSER with CLONE_SIGHAND but not CLONE_VM: EINVAL where a filter lets it through.
  clone: [0x10000800, null],
})

/**
 * Tries each forbidden call and returns its errno: `EPERM` is the filter's answer, anything else means the kernel
 * itself was reached.
 * @param {'worker' | 'process'} [policy] which filter should answer
 * @returns {Record<string, string>}
 */
export function probeFilter(policy = 'worker') {
  const forbidden = policy === 'worker' ? FORBIDDEN : FORBIDDEN_TO_PROGRAMS
  /** @type {Record<string, string>} */
  const answers = {}
  for (const [call, args] of Object.entries(forbidden)) {
    try {
      sys(/** @type {keyof typeof NUMBERS} */ (call), ...args)
      answers[call] = 'allowed'
    } catch (error) {
      answers[call] = error instanceof SystemCallError ? error.code : String(error)
    }
  }
  return answers
}

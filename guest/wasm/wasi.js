/**
 * WASI preview 1 without files, network or environment, in JavaScript. Node's own implementation writes to real
 * descriptors, which this process does not expose, and has no bounds. Functions on paths and sockets exist, so
 * that modules link, and fail with ENOTCAPABLE.
 *
 * Pointers and lengths from the guest are hostile: every access is checked against its memory, and fails with
 * EFAULT. Each call is bounded in vectors, bytes and subscriptions; a guest that needs more calls again. Clocks
 * and sleeps have whole milliseconds. Relies on the process being killed from outside for a deadline: a sleep
 * blocks the thread. Does not handle threads or the component model (preview 2).
 */
import { randomFillSync } from 'node:crypto'

/** The only argument: programs rely on their own name, as `os.Args[1:]` of Go does. */
const ARGV0 = Buffer.from('main.wasm\0')

const EBADF = 8
const EFAULT = 21
const EINVAL = 28
const ENOSYS = 52
const ESPIPE = 70
const ENOTCAPABLE = 76

const STDIN = 0
const RESULT = 3
/** Bounds of one call; a guest that needs more calls again. */
const VECTORS_MAX = 1024
const BYTES_A_CALL_MAX = 2 ** 20
const SUBSCRIPTIONS_MAX = 64
const MS = 1_000_000n
const SUBSCRIPTION_BYTES = 48
const EVENT_BYTES = 32
/** Stack frames a host function may need; a guest with less left is stopped before the call has any effect. */
const HEADROOM_CALLS = 60

/** Thrown to end a program from within. No Error: its stack would keep the instance, and with it all of its memory. */
export class Exit {
  #code

  /** @param {number} code */
  constructor(code) {
    this.#code = code
  }

  get code() {
    return this.#code
  }
}

/** Access outside the guest's memory. */
class Fault extends Error {}

/**
 * @typedef {{ input: Buffer, write(fd: 1 | 2 | 3, bytes: Uint8Array): void, flush(): void, ignored(): void, noMemory(): never }} Streams
 *   `ignored`: a guest that has exited, or was stopped, still calls; `noMemory`: it calls what needs a memory, and has none
 */
export class Wasi {
  /** Set before the first call that accesses memory. @type {{ readonly buffer: ArrayBuffer } | undefined} */
  memory
  /** Why it has ended: its own exit, or the reason that stopped it. @type {Error | Exit | undefined} */
  exit
  #streams
  #read = 0
  #began = performance.now()

  /** @param {Streams} streams */
  constructor(streams) {
    this.#streams = streams
  }

  /** Every function of `wasi_snapshot_preview1`. @returns {Record<string, Function>} */
  imports() {
    /** @type {Record<string, (...args: any[]) => number | void>} */
    const calls = {
      args_get: (list, text) => this.#arguments(list, text),
      args_sizes_get: (count, bytes) => this.#put32([count, 1], [bytes, ARGV0.length]),
      environ_get: () => 0,
      environ_sizes_get: (count, bytes) => this.#put32([count, 0], [bytes, 0]),
      clock_res_get: (id, at) => (isClock(id) ? this.#put64(at, MS) : EINVAL),
      clock_time_get: (id, _precision, at) =>
        isClock(id) ? this.#put64(at, this.#time(id)) : EINVAL,
      fd_close: (fd) => (isOpen(fd) ? 0 : EBADF),
      fd_datasync: (fd) => (isOpen(fd) ? 0 : EBADF),
      fd_fdstat_get: (fd, at) => (isOpen(fd) ? this.#describe(fd, at) : EBADF),
      fd_fdstat_set_flags: (fd) => (isOpen(fd) ? 0 : EBADF),
      fd_filestat_get: (fd, at) => (isOpen(fd) ? this.#clear(at, 64) : EBADF),
      fd_read: (fd, vectors, count, at) => this.#readInput(fd, vectors, count, at),
      fd_seek: (fd) => (isOpen(fd) ? ESPIPE : EBADF),
      fd_sync: (fd) => (isOpen(fd) ? 0 : EBADF),
      fd_tell: (fd) => (isOpen(fd) ? ESPIPE : EBADF),
      fd_write: (fd, vectors, count, at) => this.#write(fd, vectors, count, at),
      poll_oneoff: (from, to, count, at) => this.#poll(from, to, count, at),
      proc_exit: (code) => this.#leave(code),
      random_get: (at, length) => this.#fill(at, length),
      sched_yield: () => 0,
    }
    for (const name of notOpen) calls[name] = () => EBADF
    for (const name of notCapable) calls[name] = () => ENOTCAPABLE
    for (const name of notThere) calls[name] = () => ENOSYS
    return Object.fromEntries(
      Object.entries(calls).map(([name, call]) => [name, this.#guard(call)]),
    )
  }

  /**
   * Checks the argument types. A module declares the types of its imports: a count of 2 ** 32 + 1 would pass a 32-bit check
   * and cause a loop of that length. Arguments must be integers of 32 or 64 bits.
   * @param {(...args: any[]) => number | void} call
   */
  #guard(call) {
    return (/** @type {any[]} */ ...args) => {
      if (this.exit) {
        this.#streams.ignored()
        throw this.exit
      }
      if (!args.every(isInteger)) throw new TypeError('A function of WASI takes integers')
      headroom(HEADROOM_CALLS)
      try {
        return call(...args)
      } catch (error) {
        if (error instanceof Fault) return EFAULT
        throw error
      }
    }
  }

  /** @param {number} code @returns {never} */
  #leave(code) {
    return this.stop(new Exit(code >>> 0))
  }

  /** Ends the program, from within one of its calls. @param {Error | Exit} reason @returns {never} */
  stop(reason) {
    this.exit = reason
    throw reason
  }

  /** @param {number} at @param {number} bytes */
  #slice(at, bytes) {
    const { buffer } = this.memory ?? this.#streams.noMemory()
    const [from, length] = [at >>> 0, bytes >>> 0]
    if (from + length > buffer.byteLength) throw new Fault()
    return Buffer.from(buffer, from, length)
  }

  /** @param {[at: number, value: number][]} pairs */
  #put32(...pairs) {
    for (const [at, value] of pairs) this.#slice(at, 4).writeUInt32LE(value)
    return 0
  }

  /** @param {number} at @param {bigint} value */
  #put64(at, value) {
    this.#slice(at, 8).writeBigUInt64LE(value)
    return 0
  }

  /** @param {number} list @param {number} text */
  #arguments(list, text) {
    const name = this.#slice(text, ARGV0.length)
    this.#put32([list, text])
    name.set(ARGV0)
    return 0
  }

  /** @param {number} at @param {number} bytes */
  #clear(at, bytes) {
    this.#slice(at, bytes).fill(0)
    return 0
  }

  /**
   * Describes a character device, not seekable, with the rights to read or to write. @param {number} fd @param
   * {number} at
   */
  #describe(fd, at) {
    this.#clear(at, 24)
    return this.#put64(at + 8, fd === STDIN ? 2n : 64n)
  }

  /** Whole milliseconds: finer clocks allow side channels against others on the CPU. @param {number} id */
  #time(id) {
    const ms = id === 0 ? Date.now() : Math.floor(performance.now() - this.#began)
    return BigInt(ms) * MS
  }

  /** @param {number} vectors @param {number} count @returns {Buffer[]} */
  #vectors(vectors, count) {
    const table = this.#slice(vectors, count * 8)
    const slices = []
    let room = BYTES_A_CALL_MAX
    for (let index = 0; index < count && room > 0; index++) {
      const length = Math.min(room, table.readUInt32LE(index * 8 + 4))
      slices.push(this.#slice(table.readUInt32LE(index * 8), length))
      room -= length
    }
    return slices
  }

  /** @param {number} fd @param {number} vectors @param {number} count @param {number} at */
  #write(fd, vectors, count, at) {
    if (fd < 1 || fd > RESULT) return EBADF
    if (count >>> 0 > VECTORS_MAX) return EINVAL
    const slices = this.#vectors(vectors, count)
    const written = slices.reduce((sum, slice) => sum + slice.length, 0)
    this.#put32([at, written])
    for (const slice of slices) this.#streams.write(/** @type {1 | 2 | 3} */ (fd), slice)
    return 0
  }

  /** @param {number} fd @param {number} vectors @param {number} count @param {number} at */
  #readInput(fd, vectors, count, at) {
    if (fd !== STDIN) return EBADF
    if (count >>> 0 > VECTORS_MAX) return EINVAL
    const { input } = this.#streams
    let read = 0
    for (const slice of this.#vectors(vectors, count)) {
      read += input.copy(slice, 0, this.#read + read)
    }
    this.#put32([at, read])
    this.#read += read
    return 0
  }

  /** @param {number} at @param {number} length */
  #fill(at, length) {
    const whole = this.#slice(at, length)
    for (let from = 0; from < whole.length; from += 65_536) {
      randomFillSync(whole, from, Math.min(65_536, whole.length - from))
    }
    return 0
  }

  /**
   * Streams are always ready; without one it sleeps until the earliest clock event.
   * @param {number} from @param {number} to @param {number} count @param {number} at
   */
  #poll(from, to, count, at) {
    if (count >>> 0 === 0 || count >>> 0 > SUBSCRIPTIONS_MAX) return EINVAL
    const asked = Buffer.from(this.#slice(from, count * SUBSCRIPTION_BYTES))
    const all = Array.from({ length: count }, (_none, index) =>
      this.#subscription(asked.subarray(index * SUBSCRIPTION_BYTES)),
    )
    const wait = Math.min(...all.map(({ inMs }) => inMs))
    if (wait > 0) this.#sleep(wait)
    const due = all.filter(({ inMs }) => inMs <= wait)
    const events = this.#slice(to, due.length * EVENT_BYTES).fill(0)
    for (const [index, { userdata, type }] of due.entries()) {
      userdata.copy(events, index * EVENT_BYTES)
      events[index * EVENT_BYTES + 10] = type
    }
    return this.#put32([at, due.length])
  }

  /** @param {Buffer} bytes */
  #subscription(bytes) {
    const [userdata, type] = [bytes.subarray(0, 8), /** @type {number} */ (bytes[8])]
    if (type !== 0) return { userdata, type, inMs: 0 }
    const isAbsolute = (bytes.readUInt16LE(40) & 1) === 1
    const now = isAbsolute ? this.#time(bytes.readUInt32LE(16)) : 0n
    // Rounded up: a program sleeps for the time that it named at least.
    const left = Number((bytes.readBigUInt64LE(24) - now + MS - 1n) / MS)
    return { userdata, type, inMs: Math.max(0, left) }
  }

  /** @param {number} ms */
  #sleep(ms) {
    this.#streams.flush()
    Atomics.wait(doze, 0, 0, ms)
  }
}

const doze = new Int32Array(new SharedArrayBuffer(4))

const notOpen = [
  'fd_advise',
  'fd_allocate',
  'fd_fdstat_set_rights',
  'fd_filestat_set_size',
  'fd_filestat_set_times',
  'fd_pread',
  'fd_prestat_dir_name',
  'fd_prestat_get',
  'fd_pwrite',
  'fd_readdir',
  'fd_renumber',
]
const notCapable = [
  'path_create_directory',
  'path_filestat_get',
  'path_filestat_set_times',
  'path_link',
  'path_open',
  'path_readlink',
  'path_remove_directory',
  'path_rename',
  'path_symlink',
  'path_unlink_file',
  'sock_accept',
  'sock_recv',
  'sock_send',
  'sock_shutdown',
]
const notThere = ['proc_raise']

/** @param {unknown} value */
function isInteger(value) {
  return typeof value === 'bigint' || (typeof value === 'number' && (value | 0) === value)
}

/** @param {number} id */
function isClock(id) {
  return id >= 0 && id <= 3
}

/** @param {number} fd */
function isOpen(fd) {
  return fd >= 0 && fd <= RESULT
}

/**
 * Throws the engine's RangeError if the stack is nearly exhausted, before a partial write.
 * @param {number} calls @returns {number}
 */
function headroom(calls) {
  return calls === 0 ? 0 : 1 + headroom(calls - 1)
}

import type { Socket } from 'node:net'
import { MayflyError } from '../../../contract/error.ts'
import type { CProgram } from '../../../jail/c-program.ts'
import type { CallClass } from '../../../contract/calls.ts'
import { secretPaths, watchedCalls } from '../../../jail/sentinel-policy.ts'
import { spawnChild, type SpawnedChild } from '../../../os/spawned-child.ts'
import { encodeFrame } from '../../../lib/frames.ts'
import type { CallPhase, ConnectionEnds } from '../../../contract/warden.ts'
import {
  encodeTable,
  parseSentinelMessage,
  type NotifiedExec,
  type ReportedCall,
  type SentinelStatus,
  type SentinelMessage,
} from './sentinel-wire.ts'

/**
 * The warden's half of a wall's sentinel: a child of the warden with the wall's uid, outside the wall's cgroup and
 * namespaces, that answers its seccomp notifications (Linux 5.9). Each line that it writes is checked as hostile input,
 * because user code can attack it directly; when it ends, for any reason, the wall must be ended.
 */
export interface SentinelParts {
  /** The process, and its sockets: lines and frames, and copies of memory. */
  readonly child: SpawnedChild
  readonly control: number
  readonly memory: number
  /** True if it is the keeper of its wall, and so the wall's outermost process: a kill would leak the others. */
  readonly isKeeper: boolean
}

export interface WatchingParts {
  readonly program: CProgram
  /**
   * Warden's end of the socket over which the wall's first program sends the number of its seccomp listener; passed to
   * the sentinel.
   */
  readonly handed: Socket
  /** The wall's uid, if it has one of its own. */
  readonly uid: number | undefined
  /** Writes, as `FILE:TEXT`, that lift the CPU limits of a dying wall so that its tasks exit at full speed. */
  readonly lifts?: readonly string[]
  /** Path of the wall's `pids.max`. */
  readonly pidsFile?: string | undefined
}

/** Starts the sentinel of a wall. */
export function startSentinel({
  program,
  handed,
  uid,
  lifts = [],
  pidsFile,
}: WatchingParts): Sentinel {
  // setsid, as its wall: both outlive a signal to the group of the warden.
  const child = spawnChild(
    '/proc/self/fd/5',
    [
      'watch',
      `parent=${process.pid}`,
      ...(uid === undefined ? [] : [`uid=${uid}`]),
      ...liftArguments(lifts),
      ...(pidsFile === undefined ? [] : [`bound=${pidsFile}`]),
      ...watchedCalls(),
      ...secretPaths().map((part) => `secret=${part}`),
    ],
    {
      argv0: sentinelName,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', handed, program.fd, 'pipe'],
    },
  )
  // In the same turn of the event loop, so that only the sentinel reads the hand-over socket.
  handed.destroy()
  return new Sentinel({ child, control: CONTROL, memory: MEMORY, isKeeper: false })
}

export const sentinelName = 'mayfly-sentinel'

export function liftArguments(lifts: readonly string[]): readonly string[] {
  return lifts.map((lift) => `lift=${lift}`)
}

const READY_MS_MAX = 15_000
const ANSWER_MS_MAX = 2_000
/** A line has at most 8 KiB; more without a newline means that the sentinel is compromised. */
const LINE_CHARACTERS_MAX = 16_384
/** Processes in one capture. */
export const capturedMax = 64
const CONTROL = 3
const MEMORY = 6
/** Ends a keeper with its wall. Not SIGTERM, which systemd sends to every process of a unit while jobs drain. */
const END_SIGNAL = 'SIGUSR2'
const FRAME = {
  table: 1,
  report: 2,
  status: 3,
  capture: 4,
  askExecs: 5,
  execs: 6,
  connection: 7,
  tasks: 8,
  egress: 9,
} as const

const endings = {
  time: 'the last of its phases was over',
  unsettled: 'a call that began before its class was closed was not over 700 ms later',
  unheld: 'the bound on its processes did not hold',
} as const

export class Sentinel {
  readonly child: SpawnedChild
  /** Resolves when it holds the seccomp listener; rejects with the cause if it cannot. */
  readonly ready: Promise<void>
  /** Resolves with its exit code: 0 if the wall had ended, null if it was killed. */
  readonly ended: Promise<number | null>
  /** Resolves when it has ended and its last line was read. */
  readonly silent: Promise<void>
  /** Reason why this machine refuses it access to walls, once it has reported one. */
  refused: string | undefined
  /** Reason why it ended the wall, or was killed; undefined while it lives, or if the wall ended by itself. */
  why: string | undefined
  /** True if a keeper has refused a process since its bound was last set. */
  hasRefusedTask = false
  /** Pid of the first process of the wall, as it reported. */
  entered: number | undefined
  /** Callback for calls that it reports. */
  onCall: (seen: ReportedCall) => void = () => undefined
  /** Callback for notified execs: 0 allows, any other value is the errno. */
  onExec: (asked: NotifiedExec) => number = () => 0
  /** Callback for a phase that its own clock started: the warden then closes its part too. */
  onFlipped: (allowed: readonly CallClass[]) => void = () => undefined
  /** Classes that are open, as last reported; undefined before the first report. */
  allowed: readonly CallClass[] | undefined
  readonly isKeeper: boolean
  readonly #control: Socket
  readonly #memory: number
  readonly #waits = new Map<string, PromiseWithResolvers<SentinelMessage>>()
  #isSilent = false
  #isClosed = false
  /** True if it ended because no process of its wall is left. */
  #hasSeenEnd = false
  #generation = 0
  #nonce = 0
  #partialLine = ''

  constructor({ child, control, memory, isKeeper }: SentinelParts) {
    this.child = child
    this.isKeeper = isKeeper
    this.#memory = memory
    const { promise: ended, resolve } = Promise.withResolvers<number | null>()
    this.ended = ended
    this.child.once('exit', (code, signal) => this.#over(resolve, code, signal))
    this.child.once('error', () => resolve(null))
    if (!Array.isArray(this.child.stdio)) throw unavailable('no file descriptors are left for it')
    this.#control = (this.child.stdio as unknown as Socket[])[control]!
    const heard = new Promise<void>((then) => void this.#control.once('close', () => then()))
    this.silent = Promise.all([ended, heard]).then(() => this.#rejectWaits())
    this.#control.on('error', () => undefined)
    this.#control.on('data', (chunk: Buffer) => this.#readLines(chunk.toString('latin1')))
    ;(this.child.stdio as unknown as Socket[])[memory]!.on('error', () => undefined)
    this.ready = this.#wait('ready', READY_MS_MAX).then(() => undefined)
    this.ready.catch(() => undefined)
  }

  /**
   * Adds phases to the plan and resolves once those that have begun are in force: no call of a class that they close
   * can succeed any more. Reopens no class. Throws MayflyError UNAVAILABLE if the sentinel does not confirm.
   */
  async flip(phases: readonly CallPhase[]): Promise<SentinelStatus> {
    const generation = ++this.#generation
    this.#control.write(encodeFrame(FRAME.table, encodeTable(generation, phases)))
    const message = await this.#wait(`table ${generation}`, ANSWER_MS_MAX)
    if (message.kind !== 'table') throw unavailable('it refused the phases')
    return { ...message, allowed: message.allow }
  }

  /** Requests the classes that are open. */
  async status(): Promise<SentinelStatus> {
    const nonce = ++this.#nonce
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(nonce, 0)
    this.#control.write(encodeFrame(FRAME.status, bytes))
    const message = await this.#wait(`status ${nonce}`, ANSWER_MS_MAX)
    if (message.kind !== 'status') throw unavailable('it did not report its state')
    return { ...message, allowed: message.allow }
  }

  /**
   * Inode of the socket that a program of the wall opened to its egress path, by address and port of both ends; 0 if it is
   * closed, or if this kernel has no sock_diag.
   */
  async socketOf(ends: ConnectionEnds): Promise<number> {
    return (await this.#askConnection(ends)).inode
  }

  /** Process for which a keeper made this connection; 0 if none of its wall did. */
  async callerOf(ends: ConnectionEnds): Promise<number> {
    return (await this.#askConnection(ends)).caller ?? 0
  }

  async #askConnection({ from, local, remote }: ConnectionEnds) {
    const nonce = ++this.#nonce
    const bytes = Buffer.alloc(12)
    bytes.writeUInt32LE(nonce, 0)
    bytes.writeUInt16LE(local, 4)
    bytes.writeUInt16LE(remote, 6)
    from.split('.').forEach((part, place) => bytes.writeUInt8(Number(part), 8 + place))
    this.#control.write(encodeFrame(FRAME.connection, bytes))
    const message = await this.#wait(`socket ${nonce}`, ANSWER_MS_MAX)
    if (message.kind !== 'socket') throw unavailable('it did not report the owner of a connection')
    return message
  }

  /** Switches reports on or off: each denied call, each new program and file, the first use of every other call. */
  watchCalls(isOn: boolean): void {
    this.#control.write(encodeFrame(FRAME.report, Buffer.from([isOn ? 1 : 0])))
  }

  /** Has each exec notified to `onExec` from now on, if the filter notifies of that class at all. */
  askExecs(): void {
    this.#control.write(encodeFrame(FRAME.askExecs, Buffer.from([1])))
  }

  /**
   * Copies the written memory of these processes, `bytesMax` in total, into `memory`: heads as lines of JSON, each
   * followed by the number of bytes that it announces; the last head is `end`. Returns the number of processes: 0 while
   * another capture runs. The wall should be frozen.
   */
  async capture(pids: readonly number[], bytesMax: number): Promise<number> {
    const few = pids.slice(0, capturedMax)
    const bytes = Buffer.alloc(8 + 4 * few.length)
    bytes.writeBigUInt64LE(BigInt(bytesMax), 0)
    few.forEach((pid, index) => bytes.writeUInt32LE(pid, 8 + 4 * index))
    this.#control.write(encodeFrame(FRAME.capture, bytes))
    const message = await this.#wait('capturing', ANSWER_MS_MAX)
    return message.kind === 'capturing' ? message.processes : 0
  }

  /** Socket that captures come out of; the caller owns it. Undefined once it was taken. */
  takeMemory(): Socket | undefined {
    const stdio = this.child.stdio as unknown as (Socket | null)[]
    const memory = stdio[this.#memory] ?? undefined
    stdio[this.#memory] = null
    return memory
  }

  close(): void {
    this.#isClosed = true
    this.child.kill(this.isKeeper ? END_SIGNAL : 'SIGKILL')
  }

  /** Lowers the bound on processes and threads of a keeper's wall; in force before the next fork. Refusals are told anew. */
  limitTasks(tasks: number): void {
    this.hasRefusedTask = false
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(tasks, 0)
    this.#control.write(encodeFrame(FRAME.tasks, bytes))
  }

  /** Sets the port on the host's loopback to which it redirects connections to the egress path; once a life. */
  openEgress(port: number): void {
    const bytes = Buffer.alloc(2)
    bytes.writeUInt16LE(port, 0)
    this.#control.write(encodeFrame(FRAME.egress, bytes))
  }

  #over(resolve: (code: number | null) => void, code: number | null, signal: string | null): void {
    if (signal !== null && !this.#isClosed) this.why ??= `its sentinel was ended by ${signal}`
    // The exit of a keeper is that of its wall.
    this.#hasSeenEnd = code === 0 || (this.isKeeper && code !== null)
    resolve(code)
  }

  #readLines(text: string): void {
    const lines = (this.#partialLine + text).split('\n')
    this.#partialLine = lines.pop()!
    if (this.#partialLine.length > LINE_CHARACTERS_MAX) return this.close()
    for (const line of lines) {
      const message = parseSentinelMessage(line)
      if (!message) return this.close()
      this.#handle(message)
    }
  }

  #handle(message: SentinelMessage): void {
    switch (message.kind) {
      case 'seen':
        return this.onCall(message)
      case 'unready':
        this.refused = message.why
        return
      case 'flipped':
        this.allowed = message.allow
        return this.onFlipped(message.allow)
      case 'asks':
        return this.#answerExec(message)
      case 'crowded':
        this.hasRefusedTask = true
        return
      case 'capturing':
        return this.#answer('capturing', message)
      case 'ready':
        this.entered = message.pid
        return this.#answer('ready', message)
      case 'table':
      case 'refused':
        if (message.kind === 'table') this.allowed = message.allow
        return this.#answer(`table ${message.generation}`, message)
      case 'status':
      case 'socket':
        return this.#answer(`${message.kind} ${message.nonce}`, message)
      case 'ended':
        this.why = endings[message.why]
    }
  }

  #answerExec(asked: NotifiedExec): void {
    const bytes = Buffer.alloc(9)
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(asked.id)), 0)
    bytes.writeUInt8(this.onExec(asked), 8)
    this.#control.write(encodeFrame(FRAME.execs, bytes))
  }

  #answer(to: string, message: SentinelMessage): void {
    this.#waits.get(to)?.resolve(message)
    this.#waits.delete(to)
  }

  /** Rejects every pending wait. */
  #rejectWaits(): void {
    this.#isSilent = true
    for (const { reject } of this.#waits.values()) reject(this.#gone())
  }

  #gone(): MayflyError {
    const why = this.refused ?? this.why
    if (why !== undefined || !this.#hasSeenEnd) return unavailable(why ?? 'it ended')
    return new MayflyError('NOT_FOUND', 'Cannot find the programs of a wall: they have ended')
  }

  #wait(what: string, ms: number): Promise<SentinelMessage> {
    if (this.#isSilent) return Promise.reject(this.#gone())
    const wait = Promise.withResolvers<SentinelMessage>()
    const late = setTimeout(() => wait.reject(unavailable(`it did not answer in ${ms} ms`)), ms)
    late.unref()
    this.#waits.set(what, wait)
    return wait.promise.finally(() => {
      clearTimeout(late)
      this.#waits.delete(what)
    })
  }
}

function unavailable(why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot use the sentinel of a wall: ${why}`)
}

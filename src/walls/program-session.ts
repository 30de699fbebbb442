import { randomUUID } from 'node:crypto'
import { addAbortListener } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { classesToClose } from '../contract/calls.ts'
import { MayflyError } from '../contract/error.ts'
import {
  sessionBusy,
  sessionEnded,
  type ExecTask,
  type SessionFiles,
  type SessionListing,
} from '../contract/exec.ts'
import type {
  ExecEnd,
  KillCause,
  SandboxFork,
  SandboxSession,
  TaskEnd,
} from '../contract/provider.ts'
import { cutShort } from '../contract/task-end.ts'
import type { TerminalPrinter, TerminalTask, WallTerminal } from '../contract/terminal.ts'
import { sampleEveryMs, type LimitUse, type WallCost, type WallUsage } from '../contract/warden.ts'
import type { Frame } from '../lib/frames.ts'
import { resolvesWithin } from '../lib/within.ts'
import type { ArtifactCap } from './artifact-cap.ts'
import { endAtLimit, limitsUsed, lostEnd, withOwnExit } from './ends.ts'
import { execMemory } from './peak-memory.ts'
import { forkWall, type LaunchForked } from './fork-wall.ts'
import { GuestFiles } from './guest-files.ts'
import { possibleCpuTime, type GuestLife } from './guest-life.ts'
import { ProgramTerminals } from './program-terminals.ts'
import {
  execEndSchema,
  filedSchema,
  headed,
  kind,
  programBytesMax,
  reportedBy,
  workerBytesMax,
} from './wire.ts'

/** Time for an interrupted exec to end; includes a second for its kernel to answer and the start of a new kernel. */
const INTERRUPTED_MS_MAX = 10_000
/** Limit of the drain after an exec; background writers may never stop. */
const DRAIN_MS_MAX = 250
/** Time for a reader to take the output of a session that is closed. */
const CLOSE_MS_MAX = 1_000
/** Limits of file requests that the guest has, timed-out ones included, and of bytes in flight to the wall. */
const FILES_MAX = 8
const BACKLOG_BYTES_MAX = 64 * 2 ** 20
/** Limits of requests that wait behind those, and of the bytes that they hold. */
const WAITING_MAX = 1_000
const WAITING_BYTES_MAX = 64 * 2 ** 20
/** Time for the guest's manager, which runs no user code, to answer for a file. */
const FILE_MS_MAX = 30_000

/**
 * Age of an exec at which its baseline CPU time is requested from the warden. The request costs 0.2 ms, and most execs
 * end sooner. CPU time before the request is not in the outcome of the exec, but in that of the life.
 */
const BASELINE_MS = 2
/** Shortest time between two looks at the processor time of an exec that has a limit of it. */
const CPU_CHECK_MS_MIN = 25

/** Settings that differ between kinds of guests. */
export interface GuestSessionParts {
  readonly output: SessionOutput
  readonly cap: ArtifactCap
  /** Set if the guest has no files and runs no commands: the reason, for error messages. */
  readonly onlyCells?: string
  /** Set for a wall that can be forked: makes the sandbox of a fork. */
  readonly launch?: LaunchForked
  /** True if the wall may have run earlier jobs, whose CPU time must be subtracted. */
  readonly isReused?: boolean
}

/** Output of a guest, as a session bounds and reads it. */
export interface SessionOutput {
  /** Called when output exceeds the bound. */
  flooded: () => void
  /** True once the running exec has reached its output bound, where the guest itself truncates the output. */
  readonly isCut: boolean
  /** Resets the byte count. */
  renew(bytesMax: number): void
  /** Resolves when all output written before the call was consumed, or after `msMax`. */
  drained(msMax: number): Promise<void>
}

/** State of the running exec. */
interface RunningExec {
  readonly id: string
  readonly timeoutMs: number
  /** Infinity without a limit. */
  readonly cpuTimeMs: number
  cpuCheck: NodeJS.Timeout | undefined
  readonly files: GuestFiles
  readonly startedAt: number
  /** CPU time of the wall before it in milliseconds, from the warden; undefined if not requested. */
  cpuBefore: Promise<number | undefined> | undefined
  /** Last known value of that CPU time, without a request. */
  readonly cpuKnown: number
  /** Timer that requests it. */
  baseline: NodeJS.Timeout | undefined
  /** Attempts of the wall to reach the network before it. */
  readonly attempts: number
  readonly ended: PromiseWithResolvers<ExecEnd>
  /** Reason for its interruption. */
  cause: Interruption | undefined
  timer: NodeJS.Timeout | undefined
  /** True once its end frame has been read: its output is being drained. */
  hasEnded: boolean
  /** End for artifacts over a limit; reported once the guest has ended the exec. */
  refused: TaskEnd | undefined
}

/** Reasons to interrupt an exec. */
type Interruption = 'timeout' | 'cpu' | 'flood' | 'cancelled'

/** File request that waits for those before it. */
interface WaitingFile {
  readonly bytes: number
  readonly start: () => void
  /** Rejects it since the guest does not answer. */
  readonly giveUp: () => void
  readonly reject: (error: Error) => void
}
interface PendingFile {
  readonly resolve: (answer: FileAnswer) => void
  readonly reject: (error: Error) => void
}
type FileAnswer = NonNullable<ReturnType<typeof headed<FiledHead>>>
type FiledHead = ReturnType<typeof filedSchema.parse>
type FileRequest = {
  readonly op: 'put' | 'get' | 'list' | 'drain'
  readonly path: string
  bytesMax?: number
}

/**
 * Execs of a session, behind a wall of programs or in an isolate.
 *
 * Problem: execs share one guest, one pair of output streams and one control socket, and code of an earlier exec may
 * still run, print, and send whatever it can during a later one.
 *
 * Mechanism: at most one exec runs. Each has a random id, which the guest receives with the exec, a timer in this
 * process, and its own counters; frames with another id, or between execs, end the sandbox. Output that is read between
 * start and end of an exec belongs to it; at the end the streams are drained until two polls return no data, for a
 * quarter of a second at most. Time and CPU time are measured outside of the wall.
 *
 * Not handled: background programs of an earlier exec that print while a later one runs. Both belong to one owner. An
 * isolate sends everything in order on one stream, so its output needs no drain.
 */
export class ProgramSession implements SandboxSession {
  readonly files: SessionFiles
  /** Absent in an isolate, which has no programs. */
  readonly terminal?: (task: TerminalTask, print: TerminalPrinter) => Promise<WallTerminal>
  /** Absent for a wall that cannot be copied. */
  readonly fork?: (children: number) => Promise<SandboxFork>
  readonly #life: GuestLife
  readonly #output: SessionOutput
  readonly #cap: ArtifactCap
  readonly #onlyCells: string | undefined
  readonly #isReused: boolean
  /** CPU time of the wall before this life, in milliseconds. */
  #usedBefore: Promise<number> = Promise.resolve(0)
  readonly #terminals: ProgramTerminals
  readonly #ready = Promise.withResolvers<void>()
  /** Pending file requests by id; undefined for a timed-out one, whose answer is dropped. */
  readonly #filing = new Map<string, PendingFile | undefined>()
  readonly #waiting = new Set<WaitingFile>()
  #exec: RunningExec | undefined
  #mayPrint = false
  /** CPU time of the wall at the last exec end for which the warden was asked. */
  #cpuCounted = 0
  /** Pending request by which the warden counts refusals anew after the last exec. */
  #countedAnew: Promise<unknown> | undefined

  constructor(life: GuestLife, parts: GuestSessionParts) {
    const { output, cap, onlyCells, isReused = false, launch } = parts
    this.#life = life
    this.#output = output
    this.#cap = cap
    this.#onlyCells = onlyCells
    this.#isReused = isReused
    this.#terminals = new ProgramTerminals(life)
    if (onlyCells === undefined) this.terminal = (task, print) => this.#terminal(task, print)
    if (launch) this.fork = (children) => this.#fork(children, launch)
    this.files = {
      put: async (path, bytes) => void (await this.#file({ op: 'put', path }, bytes)),
      get: async (path, bytesMax) =>
        new Uint8Array((await this.#file({ op: 'get', path, bytesMax })).rest),
      list: async (path) => listingOf(await this.#file({ op: 'list', path })),
    }
  }

  get ready(): Promise<void> {
    return this.#ready.promise
  }

  /** Subscribes to the end of the sandbox, which ends the running exec and rejects pending requests. */
  begin(): void {
    if (this.#isReused) this.#usedBefore = this.#cpuUsed().then((cpuMs) => cpuMs ?? 0)
    this.#output.flooded = () => this.#flooded()
    this.#output.renew(Infinity)
    void this.#life.end.promise.then((end) => this.#lost(end))
    this.#ready.resolve()
  }

  get mayPrint(): boolean {
    return this.#mayPrint
  }

  /**
   * Reads output that was written between execs and is still in the sockets because of the rate limit. An isolate
   * answers in order after its output; its earlier cells are then paused until the next exec begins.
   */
  async drain(): Promise<void> {
    if (this.#exec) return
    if (this.#onlyCells === undefined) return await this.#output.drained(DRAIN_MS_MAX)
    const rests = this.#file({ op: 'drain', path: '.' }).catch(() => undefined)
    await Promise.race([rests, delay(DRAIN_MS_MAX, undefined, { ref: false })])
  }

  async exec(task: ExecTask, signal?: AbortSignal): Promise<ExecEnd> {
    this.#assertAlive()
    if (this.#exec) throw sessionBusy()
    if (task.command !== undefined) this.#assertHasPrograms('Cannot run a command')
    const exec = this.#start(task)
    const frame = Buffer.from(JSON.stringify({ protocol: 1, ...task, id: exec.id }))
    this.#assertFits('Cannot run this', frame.length)
    this.#exec = exec
    // Refusals of the exec before it would otherwise be its own, or its own be left out.
    if (this.#countedAnew) await this.#countedAnew
    if (this.#exec !== exec || this.#life.isEnded) return await exec.ended.promise
    exec.baseline = setTimeout(() => (exec.cpuBefore = this.#cpuUsed()), BASELINE_MS)
    this.#output.renew(task.outputBytesMax)
    exec.timer = setTimeout(() => this.#interrupt(exec, 'timeout'), task.timeoutMs)
    this.#watchCpuTime(exec, exec.cpuTimeMs)
    this.#life.parts.wall.send(kind.exec, frame)
    using _cancel = signal && addAbortListener(signal, () => this.#interrupt(exec, 'cancelled'))
    if (signal?.aborted) this.#interrupt(exec, 'cancelled')
    return await exec.ended.promise
  }

  async #terminal(task: TerminalTask, print: TerminalPrinter): Promise<WallTerminal> {
    this.#assertAlive()
    assertMayStart(this.#life)
    return await this.#terminals.open(task, print)
  }

  /** Refused while an exec, a file request or a terminal is under way: only the parent would see its end. */
  async #fork(children: number, launch: LaunchForked): Promise<SandboxFork> {
    this.#assertAlive()
    if (this.#exec) throw sessionBusy()
    const open = this.#terminals.isOpen ? 'a terminal is open' : undefined
    const why = this.#filing.size > 0 ? 'a file is being read or written' : open
    if (why !== undefined)
      throw new MayflyError('BUSY', `Cannot fork the session: ${why}`, {
        hint: 'Fork it between two execs, without terminals',
      })
    return await forkWall(this.#life.parts, children, launch)
  }

  async close(): Promise<void> {
    const life = this.#life
    if (life.isEnded) return
    // The end must not depend on the reader of an exec, who may take any time.
    await resolvesWithin(this.#output.drained(DRAIN_MS_MAX), CLOSE_MS_MAX)
    await this.end({ status: 'ok', resultText: 'null', encoding: 'json', artifacts: [] })
  }

  /** Ends the life, with its cost as measured by the warden. */
  async end(end: Omit<TaskEnd, 'cpuTime' | 'memory'>): Promise<void> {
    const life = this.#life
    const { cpuMs, peakBytes } = await life.parts.warden
      .release(life.wall)
      .catch(() => ({ cpuMs: life.samples?.cpuMs ?? 0, peakBytes: 0 }))
    const peak = Math.max(0, peakBytes - life.parts.wall.wall.idleBytes)
    life.finish({
      ...end,
      cpuTime: Math.max(cpuMs, life.samples?.cpuMs ?? 0),
      ...(peak > 0 && { memory: { used: peak, peak } }),
    })
  }

  /** For an `execEnd` frame, returns a promise that resolves when the exec is settled. */
  receive({ kind: what, payload }: Frame): Promise<void> | void {
    const life = this.#life
    if (what === kind.filed) return this.#filed(payload)
    if (this.#onlyCells === undefined && this.#terminals.receive({ kind: what, payload })) return
    const exec = this.#exec
    if (!exec) return life.garbled(`frame ${what} between two execs`)
    if (what === kind.artifact)
      return exec.refused ? undefined : this.#keep(exec, exec.files.artifact(payload))
    if (what === kind.display) return this.#keep(exec, exec.files.show(payload))
    if (what === kind.execEnd) return this.#ended(exec, payload)
    life.garbled(`unknown frame ${what}`)
  }

  #start(task: ExecTask): RunningExec {
    return {
      id: randomUUID(),
      timeoutMs: task.timeoutMs,
      cpuTimeMs: task.cpuTimeMs ?? Infinity,
      cpuCheck: undefined,
      files: new GuestFiles(task.artifactBytesMax, this.#cap),
      startedAt: performance.now(),
      cpuBefore: undefined,
      cpuKnown: Math.max(this.#cpuCounted, this.#life.samples?.cpuMs ?? 0),
      baseline: undefined,
      attempts: this.#life.egressPath?.attempts.length ?? 0,
      ended: Promise.withResolvers(),
      cause: undefined,
      timer: undefined,
      hasEnded: false,
      refused: undefined,
    }
  }

  /** CPU time of the wall in milliseconds, from the warden; undefined if the request failed. */
  #cpuUsed(): Promise<number | undefined> {
    return this.#usage().then(
      ({ cpuMs }) => cpuMs,
      () => undefined,
    )
  }

  #usage(): Promise<WallUsage> {
    return this.#life.parts.warden.usage(this.#life.wall)
  }

  /**
   * Limits that an exec hit by whose report it failed. After its memory limit the warden ends the wall, and with it the exec: an OOM
   * kill is known to the kernel before the program that reports an error for it, and to the sampler after.
   */
  async #limitsHit(tries = 2): Promise<LimitUse & Pick<WallCost, 'isOutOfMemory'>> {
    const { parts, wall } = this.#life
    const { warden } = parts
    try {
      return await warden.usageOfExec(wall, 'failed')
    } catch (error) {
      // `release` also returns the usage of a wall that has just ended; it lifts the deadline of one that lives.
      if (error instanceof MayflyError && error.code === 'NOT_FOUND')
        return await warden.release(wall, true).catch(() => ({}))
      return tries > 1 ? await this.#limitsHit(tries - 1) : {}
    }
  }

  /**
   * Has the warden count refusals anew after an exec that ended well: it may have handled some. Not asked, like the baseline, after an
   * exec that was shorter than that.
   */
  #countAnew(executionTime: number): void {
    if (executionTime < BASELINE_MS || this.#onlyCells !== undefined) return
    const { warden } = this.#life.parts
    this.#countedAnew = warden.usageOfExec(this.#life.wall, 'ok').then(
      () => (this.#countedAnew = undefined),
      () => (this.#countedAnew = undefined),
    )
  }

  /**
   * The guest's manager waits a second for its kernel to answer, then replaces it; a guest that does neither is killed.
   */
  #interrupt(exec: RunningExec, cause: Interruption): void {
    if (this.#exec !== exec || exec.cause) return
    exec.cause = cause
    clearTimeout(exec.timer)
    this.#life.parts.wall.send(kind.interrupt, JSON.stringify({ protocol: 1, id: exec.id }))
    exec.timer = setTimeout(() => this.#life.kill(killFor[cause]), INTERRUPTED_MS_MAX)
  }

  /** Interrupts an exec that used up its processor time; the next look comes when it can have done so. */
  #watchCpuTime(exec: RunningExec, leftMs: number): void {
    if (leftMs === Infinity) return
    const waitMs = Math.max(CPU_CHECK_MS_MIN, leftMs / this.#life.controls.cpu)
    exec.cpuCheck = setTimeout(() => void this.#checkCpuTime(exec), waitMs).unref()
  }

  async #checkCpuTime(exec: RunningExec): Promise<void> {
    const [before = exec.cpuKnown, now] = await Promise.all([exec.cpuBefore, this.#cpuUsed()])
    if (this.#exec !== exec || exec.hasEnded) return
    const leftMs = exec.cpuTimeMs - ((now ?? before) - before)
    if (leftMs < 0) this.#interrupt(exec, 'cpu')
    else this.#watchCpuTime(exec, leftMs)
  }

  #flooded(): void {
    if (this.#exec && !this.#exec.hasEnded) this.#interrupt(this.#exec, 'flood')
  }

  #keep(exec: RunningExec, refused: TaskEnd | string | undefined): void {
    if (typeof refused === 'string') this.#life.garbled(refused)
    else if (refused) exec.refused ??= refused
  }

  async #ended(exec: RunningExec, payload: Buffer): Promise<void> {
    const read = headed(execEndSchema, payload)
    if (!read || read.head.id !== exec.id) return this.#life.garbled('unreadable end of an exec')
    if (read.head.flooded && !this.#output.isCut)
      return this.#life.garbled('a flood of output within its limit')
    clearTimeout(exec.timer)
    clearTimeout(exec.baseline)
    clearTimeout(exec.cpuCheck)
    exec.hasEnded = true
    if (read.head.flooded) exec.cause ??= 'flood'
    this.#mayPrint = read.head.pending === true
    const executionTime = performance.now() - exec.startedAt
    // A guest with its own timer may report the timeout before the timer here fires, but not before the limit.
    if (read.head.error?.code === 'INTERRUPTED' && executionTime >= exec.timeoutMs)
      exec.cause ??= 'timeout'
    const [cpuTime] = await Promise.all([
      this.#cpuTimeOf(exec, executionTime, read.head.cpuTimeMs),
      this.#output.drained(DRAIN_MS_MAX),
    ])
    if (cpuTime > exec.cpuTimeMs) exec.cause ??= 'cpu'
    const { status, state } = read.head
    if (status === 'ok') this.#countAnew(executionTime)
    const hit = status === 'ok' ? {} : limitsUsed(await this.#limitsHit(), read.head.error)
    if (hit.isOutOfMemory) return
    const own = { ...reportedBy(read.head), status, resultText: read.rest.toString('utf8') }
    const ended = hit.limit && !exec.cause ? withOwnExit(endAtLimit(hit), own) : own
    const { artifacts, display } = exec.files
    const memory = execMemory(read.head, this.#life.controls.memory)
    const end = exec.refused ?? { ...ended, ...memory, artifacts, display }
    this.#settle(exec, { ...end, cpuTime }, state, executionTime)
  }

  /**
   * CPU time from the warden if the exec lasted long enough; else as reported by the guest (untrusted). If this process
   * was busy, the end is read before the baseline was requested: an older baseline would charge the exec for earlier
   * ones.
   */
  async #cpuTimeOf(exec: RunningExec, tookMs: number, reportedMs: number): Promise<number> {
    const claimed = possibleCpuTime(reportedMs, tookMs)
    if (tookMs < sampleEveryMs.limited || !exec.cpuBefore) return claimed
    const [before, after] = await Promise.all([exec.cpuBefore, this.#cpuUsed()])
    if (before === undefined || after === undefined) return claimed
    this.#cpuCounted = after
    return Math.max(0, after - before)
  }

  #settle(exec: RunningExec, end: TaskEnd, state: ExecEnd['state'], tookMs?: number): void {
    if (this.#exec !== exec) return
    this.#exec = undefined
    clearTimeout(exec.timer)
    clearTimeout(exec.baseline)
    clearTimeout(exec.cpuCheck)
    exec.files.uncount()
    // Between execs the reader bounds the output.
    this.#output.renew(Infinity)
    const executionTime = tookMs ?? performance.now() - exec.startedAt
    const network = this.#life.egressPath?.attempts.slice(exec.attempts)
    const seen = { ...withCause(end, exec.cause), ...(network && { network }) }
    exec.ended.resolve({ end: seen, state, ended: this.#life.isEnded, executionTime })
  }

  #lost(end: TaskEnd): void {
    if (this.#exec) void this.#lostExec(this.#exec, end)
    for (const pending of this.#filing.values()) pending?.reject(lostFile(end))
    this.#filing.clear()
    for (const waiting of this.#waiting) waiting.reject(lostFile(end))
    this.#waiting.clear()
    this.#terminals.lost()
  }

  /** Subtracts the CPU time before the exec: the end of the wall counts that of the whole life. */
  async #lostExec(exec: RunningExec, end: TaskEnd): Promise<void> {
    clearTimeout(exec.timer)
    const before = ((await exec.cpuBefore) ?? exec.cpuKnown) - (await this.#usedBefore)
    const cpuTime = Math.max(0, end.cpuTime - Math.max(0, before))
    const lost = end.status === 'ok' ? lostEnd('terminated', 'SESSION_ENDED', endedUnderIt, 0) : end
    this.#settle(exec, { ...lost, cpuTime, artifacts: [], display: [] }, 'lost')
  }

  async #file(request: FileRequest, bytes?: Uint8Array): Promise<FileAnswer> {
    this.#assertAlive()
    const failed = `Cannot ${request.op} "${request.path}"`
    if (request.op !== 'drain') this.#assertHasPrograms(failed)
    this.#assertFits(failed, bytes?.length ?? 0)
    const answer = await this.#asked(request, failed, bytes)
    const { error } = answer.head
    if (error) throw fileError(error)
    if (request.bytesMax !== undefined && answer.rest.length > request.bytesMax)
      throw new MayflyError('TOO_LARGE', `${failed}: it is too large`)
    return answer
  }

  /** Sends a file request, in its turn: the guest answers one after another. Throws MayflyError OVERLOADED if too many wait. */
  #asked(request: FileRequest, failed: string, bytes?: Uint8Array): Promise<FileAnswer> {
    const id = randomUUID()
    const head = Buffer.from(`${JSON.stringify({ protocol: 1, id, ...request })}\n`)
    const frame = bytes ? Buffer.concat([head, bytes]) : head
    const { promise, resolve, reject } = Promise.withResolvers<FileAnswer>()
    let timer: NodeJS.Timeout | undefined
    const giveUp = () => reject(new MayflyError('STATE', `${failed}: the sandbox does not answer`))
    const late = () => {
      this.#filing.set(id, undefined)
      giveUp()
      for (const waiting of this.#waiting) waiting.giveUp()
      this.#waiting.clear()
    }
    const start = () => {
      timer = setTimeout(late, FILE_MS_MAX)
      this.#filing.set(id, { resolve, reject })
      this.#life.parts.wall.send(kind.file, frame)
    }
    if (this.#waiting.size === 0 && this.#mayFile()) start()
    else if (request.op !== 'drain' && this.#mayWait(frame.length))
      this.#waiting.add({ bytes: frame.length, start, giveUp, reject })
    else
      throw new MayflyError('OVERLOADED', `${failed}: too many file requests are pending`, {
        retryAfterMs: 1000,
      })
    return promise.finally(() => clearTimeout(timer))
  }

  #mayFile(): boolean {
    const { size } = this.#filing
    const { backlogBytes } = this.#life.parts.wall
    return size === 0 || (size < FILES_MAX && backlogBytes <= BACKLOG_BYTES_MAX)
  }

  /** False as well if no answer is to come that would end the wait. */
  #mayWait(bytes: number): boolean {
    const waiting = [...this.#waiting]
    const held = waiting.reduce((sum, one) => sum + one.bytes, bytes)
    const isAnswering = this.#filing.values().some((pending) => pending !== undefined)
    return (
      isAnswering &&
      (waiting.length === 0 || (waiting.length < WAITING_MAX && held <= WAITING_BYTES_MAX))
    )
  }

  #filed(payload: Buffer): void {
    const read = headed(filedSchema, payload)
    if (!read || !this.#filing.has(read.head.id))
      return this.#life.garbled('unreadable answer for a file')
    const pending = this.#filing.get(read.head.id)
    this.#filing.delete(read.head.id)
    pending?.resolve(read)
    for (const waiting of this.#waiting) {
      if (!this.#mayFile()) return
      this.#waiting.delete(waiting)
      waiting.start()
    }
  }

  /** A guest takes a longer frame for garbage, and ends. */
  #assertFits(what: string, bytes: number): void {
    const max = this.#onlyCells === undefined ? programBytesMax : workerBytesMax
    if (bytes <= max) return
    throw new MayflyError('TOO_LARGE', `${what}: it has ${bytes} bytes, of at most ${max}`)
  }

  #assertHasPrograms(what: string): void {
    if (this.#onlyCells === undefined) return
    throw new MayflyError('INVALID', `${what}: ${this.#onlyCells}`)
  }

  #assertAlive(): void {
    const { cause, isEnded, isDisposing } = this.#life
    if (cause) throw sessionEnded(cutShort(cause))
    if (isEnded || isDisposing) throw sessionEnded()
  }
}

/** Throws MayflyError CONFLICT if the right to start programs was revoked. */
function assertMayStart({ parts, wanted }: GuestLife): void {
  // A terminal is a device, and its program a file.
  const closed = classesToClose(parts.profile.controls, wanted).filter((name) => name !== 'network')
  const { processes } = wanted
  if (processes > 1 && closed.length === 0) return
  const message = 'Cannot open a terminal: a phase closed the rights that it needs'
  throw new MayflyError('CONFLICT', message, { details: { processes, closed } })
}

const endedUnderIt = 'The session was ended while this ran'

/** Error of a transfer of a file under which the session ended; names the limit that ended it. */
function lostFile(end: TaskEnd): MayflyError {
  if (end.status !== 'limit' || end.error?.code !== 'MEMORY') return sessionEnded(end)
  const hint = 'Raise "limits.memory", or use a smaller file: the session holds it in memory'
  return sessionEnded(end, hint)
}

/** The cause of an interrupted exec takes precedence over the status that the guest reports. */
function withCause(end: TaskEnd, cause: RunningExec['cause']): TaskEnd {
  const isOwn = end.status === 'ok' || end.status === 'error'
  if (!cause || !isOwn) return end
  const { exitCode: _code, signal: _signal, ...rest } = end
  const nothing = { resultText: 'null', encoding: 'json' } as const
  const { status, code, message } = interrupted[cause]
  return { ...rest, ...nothing, status, error: { code, message } }
}

const interrupted = {
  timeout: { status: 'timeout', code: 'TIMEOUT', message: 'The exec ran longer than its limit' },
  cpu: { status: 'limit', code: 'CPU', message: 'The exec was ended at its CPU limit' },
  flood: { status: 'limit', code: 'OUTPUT', message: 'The exec was ended at its OUTPUT limit' },
  cancelled: { status: 'cancelled', code: 'CANCELLED', message: 'The exec was cancelled' },
} as const

/** Ends the session of a guest that does not end an interrupted exec. */
const killFor = {
  timeout: { status: 'timeout' },
  cpu: { status: 'limit', code: 'CPU' },
  flood: { status: 'limit', code: 'OUTPUT' },
  cancelled: { status: 'cancelled' },
} as const satisfies Record<Interruption, KillCause>

function listingOf({ head }: FileAnswer): SessionListing {
  return { entries: head.entries ?? [], truncated: head.truncated ?? false }
}

function fileError({ code, message }: NonNullable<FiledHead['error']>): MayflyError {
  if (code === 'DISK')
    return new MayflyError('TOO_LARGE', message, { hint: 'The disk of the session is full' })
  return new MayflyError(code, message)
}

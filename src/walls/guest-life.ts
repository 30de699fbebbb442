import { availableParallelism } from 'node:os'
import type * as z from 'zod'
import { meet, type Controls } from '../contract/controls.ts'
import type { Emitter, Event, Point, Sink } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import { isSingleProcess } from '../contract/tier.ts'
import type { KillCause, Task, TaskEnd, TaskIo } from '../contract/provider.ts'
import type { WallCost } from '../contract/warden.ts'
import type { WardenClient } from './client.ts'
import { endOfWall, lostEnd } from './ends.ts'
import type { EgressPath } from './egress-path.ts'
import type { HandleEnd, WallHandle } from './handle.ts'
import { tightenedControls } from './tighten.ts'
import { sampleUsage, type UsageSamples } from './usage-samples.ts'
import { present } from '../lib/present.ts'
import { headed, kind, type AnsweredHead } from './wire.ts'

export interface SandboxParts {
  readonly provider: string
  readonly profile: Profile
  readonly wall: WallHandle
  readonly warden: WardenClient
  readonly emitter: Emitter
  readonly pool: 'hit' | 'miss'
}

/** Upper bound of a guest's CPU time per elapsed time. */
const cores = availableParallelism()

/** Usage of a wall that was not sampled. */
export const noUsage: WallCost = { peakBytes: 0, cpuMs: 0 }

/** Actions of a kind of guest at the ends of its life. */
export interface LifeHooks {
  /** Called before a kill. Returns the milliseconds for which the wall may still send earlier output. */
  beforeKill?(cause: KillCause): number
  /** Called before the end is reported. */
  ended?(): void
  /** Called before a wall is killed for an invalid frame. */
  cutOff?(): void
}

/**
 * State of one life, shared by its sandbox and the parts of its kind of guest: the task, controls that only tighten, usage
 * samples, the cause of its kill, its end. The first end counts; later ones are dropped.
 */
export class GuestLife {
  readonly parts: SandboxParts
  readonly end = Promise.withResolvers<TaskEnd>()
  controls: Controls
  /** Meet of all requested controls, updated when a request arrives. */
  wanted: Controls
  egressPath: EgressPath | undefined
  task: Task | undefined
  io: TaskIo | undefined
  sink: Sink | undefined
  cause: KillCause | undefined
  samples: UsageSamples | undefined
  isEnded = false
  isDisposing = false
  /** Usage before the freeze for its capture. */
  usedBefore = noUsage
  /** Actions of its kind of guest. */
  hooks: LifeHooks = {}
  /** Start of its task, on the monotonic clock. */
  #startedAt = performance.now()
  #answers = 0
  /** CPU time of its reported end, in milliseconds. */
  #chargedMs = 0

  constructor(parts: SandboxParts) {
    this.parts = parts
    this.controls = parts.profile.controls
    this.wanted = this.controls
  }

  /** Assigns its task. */
  begin(task: Task, io: TaskIo): void {
    this.task = task
    this.io = io
    this.#startedAt = performance.now()
  }

  /**
   * CPU time of a reported end in milliseconds: the larger of the measured value and the guest's own (untrusted), the
   * latter capped at what the machine can have given since the task began.
   */
  cpuTimeOf(reportedMs: number): number {
    const possibleMs = possibleCpuTime(reportedMs, performance.now() - this.#startedAt)
    return Math.max(possibleMs, this.samples?.cpuMs ?? 0)
  }

  /** The warden's id of its wall. */
  get wall(): string {
    return this.parts.wall.wall.id
  }

  /** Meet with the controls wanted so far, so that concurrent requests commute. Throws CONFLICT for a looser one. */
  want(to: Controls): { readonly asked: Controls; readonly next: Controls } {
    const asked = tightenedControls(this.controls, to)
    const next = (this.wanted = meet(this.wanted, asked))
    return { asked, next }
  }

  /** Wants the amounts in force again, after an order that the wall refused. */
  forgetAmounts(): void {
    const { memory, cpu, processes, io } = this.controls
    this.wanted = { ...this.wanted, memory, cpu, processes, io }
  }

  /** Race: applies a tightening, or an end, that came while the path was being opened. */
  adopt(egressPath: EgressPath): void {
    this.egressPath = egressPath
    egressPath.tighten(this.wanted)
    if (this.cause !== undefined || this.isDisposing) egressPath.close()
  }

  /**
   * Samples usage from the release of user code on. From the first sample on the warden's figures are of this job
   * alone. `begin` is called before it.
   */
  sample(begin = () => this.parts.wall.deadline.own()): void {
    const { warden, emitter, profile } = this.parts
    const { run = '', zone } = this.task ?? {}
    const isAlone = isSingleProcess(profile.tier)
    this.samples ??= sampleUsage({ warden, wall: this.wall, run, zone, emitter, begin, isAlone })
  }

  /** Receives the answer to one call of a batch. More answers than calls are a protocol error and end the job. */
  answered(payload: Buffer, schema: z.ZodType<AnsweredHead>): void {
    const read = headed(schema, payload)
    if (!read || ++this.#answers > (this.task?.calls ?? 0)) return this.garbled('unreadable answer')
    const { status, encoding, error, executionMs } = read.head
    this.io?.answered?.({
      status,
      resultText: read.rest.toString('utf8'),
      encoding,
      executionTime: executionMs,
      ...(error && { error: present(error) }),
    })
  }

  /** Status of a reported end: a timeout if the wall was killed for one, whatever the guest reports. */
  statusOf(reported: TaskEnd['status']): TaskEnd['status'] {
    return this.cause?.status === 'timeout' ? 'timeout' : reported
  }

  /** Peak without the memory that the wall had before the job. */
  peakOf({ how, peakBytes }: HandleEnd): number {
    const { idleBytes } = this.parts.wall.wall
    const seen = Math.max(0, Math.max(peakBytes, this.usedBefore.peakBytes) - idleBytes)
    // An OOM kill means that usage reached the limit, even if the last sample was lower.
    return how === 'memory' ? Math.max(seen, this.controls.memory) : seen
  }

  /** End of a wall that was killed, or that ended under its task. */
  endOf(end: HandleEnd): TaskEnd {
    const { isOwn, isOver } = this.parts.wall.deadline
    const seen = { ...end, peakBytes: this.peakOf(end) }
    const ended = this.#nameBound(endOfWall(isOwn ? seen : ownEnd(seen, isOver), this.cause))
    // The last sample counts if no process was left to measure.
    const cpuTime = Math.max(this.#measuredMs(ended.cpuTime), this.samples?.cpuMs ?? 0)
    return { ...ended, cpuTime }
  }

  /**
   * CPU time of its task in milliseconds, once its wall is gone or was given back. The warden counts until a wall is gone: a
   * job that is too short to be sampled may report less than it used, or end without a report.
   */
  get cpuTimeAtLast(): number {
    if (!this.task) return 0
    const { exit } = this.parts.wall
    const measuredMs = this.#measuredMs(exit?.cpuMs ?? 0)
    return Math.max(measuredMs, this.#chargedMs, this.samples?.cpuMs ?? 0)
  }

  /** Count of the warden, which includes earlier jobs of a worker until it was reset for this one. */
  #measuredMs(countedMs: number): number {
    if (this.parts.wall.deadline.isOwn) return countedMs
    return possibleCpuTime(countedMs, performance.now() - this.#startedAt)
  }

  /** Adds to an end by memory the bound that was in force, if it fell while the job ran. */
  #nameBound(ended: TaskEnd): TaskEnd {
    const { error } = ended
    const tightenedTo = this.controls.memory
    if (error?.code !== 'MEMORY' || tightenedTo >= this.parts.profile.controls.memory) return ended
    return { ...ended, error: { ...error, details: { tightenedTo } } }
  }

  kill(cause: KillCause): void {
    if (this.cause || this.isEnded) return
    this.cause = cause
    // Requests sent between this kill and the end of the wall must not be forwarded.
    this.egressPath?.close()
    const graceMs = this.hooks.beforeKill?.(cause) ?? 0
    if (graceMs === 0) return void this.parts.wall.kill()
    setTimeout(() => {
      if (!this.isEnded) void this.parts.wall.kill()
    }, graceMs)
  }

  /**
   * Ends the job for an invalid frame. The job's code is blamed: runners are tested, and user code in the process of a
   * runner can write any bytes to its socket.
   */
  garbled(why: string): void {
    this.cutOff(lostEnd('error', 'PROTOCOL', `Cannot read a message of the wall: ${why}`, 0))
  }

  /** Sends the task, and ends the job for one that its guest would take for garbage. */
  sendTask(text: string, bytesMax: number): void {
    const bytes = Buffer.byteLength(text)
    if (bytes <= bytesMax) return this.parts.wall.send(kind.run, text)
    const all = `The code, input and files have ${bytes} bytes, of at most ${bytesMax} here`
    this.cutOff(lostEnd('error', 'TOO_LARGE', all, 0))
  }

  /** Kills the wall for an invalid frame. */
  cutOff(end: TaskEnd): void {
    this.hooks.cutOff?.()
    void this.parts.wall.kill()
    this.finish(end)
  }

  finish(end: TaskEnd): void {
    if (this.isEnded) return
    this.hooks.ended?.()
    this.isEnded = true
    this.#chargedMs = end.cpuTime
    this.samples?.[Symbol.dispose]()
    const network = this.egressPath?.attempts
    this.end.resolve(network ? { ...end, network } : end)
  }

  /** Unsubscribes from its wall, so that it does not keep the process alive. */
  detach(): void {
    const { wall } = this.parts
    wall.listen(undefined)
    wall.ref(false)
  }
}

/** Event for the listener of one life, which numbers none. */
export function eventOfLife(
  point: Point,
  about: Pick<Event, 'run' | 'zone' | 'actor' | 'trust' | 'fields'>,
): Event {
  return { format: 1, seq: 0, at: Date.now(), point, ...about }
}

/**
 * End of a worker that ran under the deadline and the peak of an earlier job. By the warden's clock that deadline is
 * never before the job's own. After a suspend of the machine it may be, and is a timeout of this job only if its own
 * time is over.
 */
function ownEnd(end: HandleEnd, isOver: boolean): HandleEnd {
  if (end.how === 'memory') return end
  if (end.how !== 'deadline' || isOver) return { ...end, peakBytes: 0 }
  return { ...end, how: 'killed', peakBytes: 0, detail: 'at the deadline of an earlier job' }
}

/** CPU time in milliseconds as a guest reports it, bounded by what the machine can give in `elapsedMs`. */
export function possibleCpuTime(reportedMs: number, elapsedMs: number): number {
  return Math.min(reportedMs, elapsedMs * cores)
}

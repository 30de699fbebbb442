import { availableParallelism } from 'node:os'
import type * as z from 'zod'
import { meet, type Controls } from '../contract/controls.ts'
import type { Emitter, Sink } from '../contract/event.ts'
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
import { headed, withoutAbsent, type AnsweredHead } from './wire.ts'

export interface SandboxParts {
  readonly provider: string
  readonly profile: Profile
  readonly wall: WallHandle
  readonly warden: WardenClient
  readonly emitter: Emitter
  readonly pool: 'hit' | 'miss'
}

/** No guest uses more CPU time than these give. */
const cores = availableParallelism()

/** Usage of a wall that was not sampled. */
export const noUsage: WallCost = { peakBytes: 0, cpuMs: 0 }

/** Actions of a kind of guest at the ends of its life. */
export interface LifeHooks {
  /** Before a kill: milliseconds for which the wall may still send what was printed before. */
  beforeKill?(cause: KillCause): number
  /** Before the end is reported. */
  ended?(): void
  /** Before a wall is killed for what its runner sent. */
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
  /** Meet of all controls ever asked for, from the moment of the request on. */
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
  /** Time of its task. */
  #startedAt = performance.now()
  #answers = 0

  constructor(parts: SandboxParts) {
    this.parts = parts
    this.controls = parts.profile.controls
    this.wanted = this.controls
  }

  /** Takes its task. */
  begin(task: Task, io: TaskIo): void {
    this.task = task
    this.io = io
    this.#startedAt = performance.now()
  }

  /**
   * CPU time in milliseconds of an end that the guest reports: what was seen of it from outside, or more by its own word,
   * up to what the machine can have given since its task.
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

  /** Race: a tightening, or the end, while the path was being opened is applied here. */
  adopt(egressPath: EgressPath): void {
    this.egressPath = egressPath
    egressPath.tighten(this.wanted)
    if (this.cause !== undefined || this.isDisposing) egressPath.close()
  }

  /** Samples usage from the release of user code on. The warden counts for this job alone from the first sample on. */
  sample(): void {
    const { warden, emitter, wall, profile } = this.parts
    const { run = '', zone } = this.task ?? {}
    const begin = () => wall.deadline.own()
    const isAlone = isSingleProcess(profile.tier)
    this.samples ??= sampleUsage({ warden, wall: this.wall, run, zone, emitter, begin, isAlone })
  }

  /** Takes the answer of a call of a batch. More answers than calls end the job: no honest runner sends them. */
  answered(payload: Buffer, schema: z.ZodType<AnsweredHead>): void {
    const read = headed(schema, payload)
    if (!read || ++this.#answers > (this.task?.calls ?? 0)) return this.garbled('unreadable answer')
    const { status, encoding, error, executionMs } = read.head
    this.io?.answered?.({
      status,
      resultText: read.rest.toString('utf8'),
      encoding,
      executionTime: executionMs,
      ...(error && { error: withoutAbsent(error) }),
    })
  }

  /** Status of a reported end: a timeout if the wall was killed for one, whatever the guest reports. */
  statusOf(reported: TaskEnd['status']): TaskEnd['status'] {
    return this.cause?.status === 'timeout' ? 'timeout' : reported
  }

  /** End of a wall that was killed, or that ended under its task. */
  endOf(end: HandleEnd): TaskEnd {
    const { isOwn } = this.parts.wall.deadline
    const ended = endOfWall(isOwn ? end : ownEnd(end), this.cause)
    const seenMs = isOwn
      ? ended.cpuTime
      : possibleCpuTime(ended.cpuTime, performance.now() - this.#startedAt)
    // The last sample counts if no process was left to measure.
    return { ...ended, cpuTime: Math.max(seenMs, this.samples?.cpuMs ?? 0) }
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
   * Ends the job for what its runner never sends. That is an error of its code: runners are tested, and code that shares
   * a process with its runner can write what it likes.
   */
  garbled(why: string): void {
    this.cutOff(lostEnd('error', 'PROTOCOL', `Cannot read what the wall says: ${why}`, 0))
  }

  /** Kills the wall for what its runner sent. */
  cutOff(end: TaskEnd): void {
    this.hooks.cutOff?.()
    void this.parts.wall.kill()
    this.finish(end)
  }

  finish(end: TaskEnd): void {
    if (this.isEnded) return
    this.hooks.ended?.()
    this.isEnded = true
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

/**
 * End of a worker that ran under the deadline and the peak of an earlier job. That deadline is never before the job's own
 * by the warden's clock; where the machine was suspended it may be, and is no timeout of this job.
 */
function ownEnd(end: HandleEnd): HandleEnd {
  if (end.how === 'memory') return end
  if (end.how !== 'deadline') return { ...end, peakBytes: 0 }
  return { ...end, how: 'killed', peakBytes: 0, detail: 'at the deadline of an earlier job' }
}

/** CPU time in milliseconds as a guest reports it, bounded by what the machine can give in `elapsedMs`. */
export function possibleCpuTime(reportedMs: number, elapsedMs: number): number {
  return Math.min(reportedMs, elapsedMs * cores)
}

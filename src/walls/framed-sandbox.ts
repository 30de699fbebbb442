import type * as z from 'zod'
import { meet, type Control, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { Sink, Emitter } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import type {
  Capture,
  Enforced,
  KillCause,
  Receipt,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
} from '../contract/provider.ts'
import type { Frame } from '../lib/frames.ts'
import type { WardenClient } from './client.ts'
import { endOfWall, lostEnd } from './ends.ts'
import type { WayOut } from './exit.ts'
import type { HandleEnd, WallHandle } from './handle.ts'
import { stricter } from './lower.ts'
import { sampleUsage, type UsageSamples } from './usage-samples.ts'
import { headed, withoutAbsent, type AnsweredHead } from './wire.ts'

/**
 * The server's end of one life behind a wall that speaks in frames, whatever the wall is made of: one task, controls that
 * only fall, samples of what it uses, one end. Kinds of walls add where output comes from and what else a frame may say.
 *
 * Each frame is read as hostile input: a guest that writes what its runner never writes is killed, and its job ends
 * PROTOCOL. The first end counts; whatever comes later is dropped.
 */
export interface SandboxParts {
  readonly provider: string
  readonly profile: Profile
  readonly wall: WallHandle
  readonly warden: WardenClient
  readonly voice: Emitter
  readonly pool: 'hit' | 'miss'
}

/** Freed resources, for the receipt. */
export type Freed = Pick<Receipt, 'freedBytes' | 'forced'>

export abstract class FramedSandbox<Parts extends SandboxParts> implements Sandbox {
  readonly id: string
  readonly provider: string
  readonly image: string
  readonly pool: 'hit' | 'miss'
  abstract readonly tightens: readonly Control[] | undefined
  receipt: Receipt | undefined
  protected readonly parts: Parts
  protected controls: Controls
  /** Meet of all controls ever asked for, from the moment of the request on. */
  protected wanted: Controls
  protected wayOut: WayOut | undefined
  protected task: Task | undefined
  protected io: TaskIo | undefined
  protected cause: KillCause | undefined
  protected samples: UsageSamples | undefined
  protected ended = false
  #answers = 0
  #settle: ((end: TaskEnd) => void) | undefined
  #disposing: Promise<void> | undefined

  constructor(id: string, parts: Parts) {
    this.id = id
    this.parts = parts
    this.provider = parts.provider
    this.image = parts.profile.image
    this.pool = parts.pool
    this.controls = parts.profile.controls
    this.wanted = this.controls
  }

  /** Opens what leaves the wall, as far as it was granted. */
  protected abstract openExits(task: Task): Promise<void>
  /** Subscribes to output, before the first frame is read. */
  protected abstract subscribe(io: TaskIo): void
  protected abstract send(task: Task): void
  protected abstract hear(frame: Frame): void
  /** The wall ended without an `end` frame. */
  protected abstract lost(end: HandleEnd): void
  /** Kills or gives back the wall. */
  protected abstract destroy(): Promise<Freed>
  abstract tighten(to: Controls, zone?: string): Promise<Enforced>
  abstract freeze(): Promise<void>
  abstract thaw(): Promise<void>
  abstract capture(): Promise<Capture>
  abstract watch(sink: Sink): void
  abstract kill(cause: KillCause): void

  get wall(): string {
    return this.parts.wall.wall.id
  }

  protected get isOver(): boolean {
    return this.cause !== undefined || this.#disposing !== undefined
  }

  async run(task: Task, io: TaskIo): Promise<TaskEnd> {
    if (this.task || this.#disposing)
      throw new MayflyError('CONFLICT', 'Cannot run a second task: a sandbox is used once')
    const { wall } = this.parts
    this.task = task
    this.io = io
    await this.openExits(task)
    const { promise, resolve } = Promise.withResolvers<TaskEnd>()
    this.#settle = resolve
    wall.ref(true)
    this.subscribe(io)
    wall.listen({ frame: (frame) => this.hear(frame), ended: (end) => this.lost(end) })
    if (!this.ended) this.send(task)
    return promise
  }

  cpuTime(zone?: string): number | undefined {
    return zone === undefined ? (this.samples?.cpuMs ?? 0) : undefined
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose()
    return this.#disposing
  }

  async #dispose(): Promise<void> {
    const began = performance.now()
    const freed = await this.destroy()
    this.receipt = { id: this.id, took: performance.now() - began, ...freed }
  }

  /** Tightened or ended while it was being opened, it could not be told. */
  protected adopt(wayOut: WayOut): void {
    this.wayOut = wayOut
    wayOut.tighten(this.wanted)
    if (this.isOver) wayOut.close()
  }

  /** Throws CONFLICT for what loosens. Concurrent requests meet, whichever takes effect first. */
  protected want(to: Controls): { readonly asked: Controls; readonly next: Controls } {
    const asked = stricter(this.controls, to)
    const next = (this.wanted = meet(this.wanted, asked))
    return { asked, next }
  }

  /** Samples usage from the release of user code on. */
  protected sample(): void {
    const { wall, warden, voice } = this.parts
    const { run = '', zone } = this.task ?? {}
    this.samples ??= sampleUsage({ warden, wall: wall.wall.id, run, zone, voice })
  }

  /** An honest runner sends no more answers than the batch has calls. */
  protected answered(payload: Buffer, schema: z.ZodType<AnsweredHead>): void {
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

  /** A timeout that the guest reported late stays a timeout. */
  protected statusOf(reported: TaskEnd['status']): TaskEnd['status'] {
    return this.cause?.status === 'timeout' ? 'timeout' : reported
  }

  /** End of a wall that was killed, or that ended under its task. */
  protected endOf(end: HandleEnd): TaskEnd {
    const ended = endOfWall(end, this.cause)
    // The last sample counts where no process was left to be read.
    return { ...ended, cpuTime: Math.max(ended.cpuTime, this.samples?.cpuMs ?? 0) }
  }

  protected garbled(why: string): void {
    this.cutOff(lostEnd('failed', 'PROTOCOL', `Cannot read what the wall says: ${why}`, 0))
  }

  /** Kills the wall for what its runner sent. */
  protected cutOff(end: TaskEnd): void {
    void this.parts.wall.kill()
    this.finish(end)
  }

  protected finish(end: TaskEnd): void {
    if (this.ended) return
    this.ended = true
    this.samples?.[Symbol.dispose]()
    const network = this.wayOut?.attempts
    this.#settle?.(network ? { ...end, network } : end)
  }
}

import type { Server } from 'node:net'
import type {
  ClaimBounds,
  ClaimReadBack,
  Enclosure,
  EnclosureBounds,
  EnclosureEnd,
  EnclosureSockets,
  KillReceipt,
  MemoryCapture,
  MemorySample,
  WallRank,
} from '../../../contract/engine.ts'
import type { BoundMechanisms, LimitHit, Wall, WallUsage } from '../../../contract/warden.ts'
import { proportionalBytes } from '../../../os/proc.ts'
import { belowOf } from '../../../os/process-tree.ts'
import { enclosureEndOf, isGoneInTime, isKilledForMemory, untilExit } from '../wall-end.ts'
import { takeSockets } from '../wall-sockets.ts'
import { Checkpoints } from './capture.ts'
import { claim, sampleOf, tighten } from './bounds.ts'
import { CpuPauses, type Pausable } from '../cpu-pauses.ts'
import { SentryExit } from './ending.ts'
import { beforeFailedExit, limitInside } from './limit-hit.ts'
import { JobMemory } from './job-memory.ts'
import { killResources } from './kill.ts'
import { memoryOf, spentMs } from './measure.ts'
import { TaskWatch } from './task-watch.ts'
import type { RunscWall } from './wall.ts'

/** Descriptor of the socket to the server among those of the child. */
const HANDLE_FD = 5

/** A wall of runsc, as the warden sees it. */
export class RunscEnclosure implements Enclosure {
  readonly id: string
  readonly wall: Wall
  readonly isSingleUse = true
  /** Never resolves: `sample` throws once the sentry is lost. */
  readonly lost = new Promise<void>(() => undefined)
  readonly ended: Promise<EnclosureEnd>
  readonly memory: MemoryCapture
  readonly limitTrust = 'guest'
  readonly #wall: RunscWall
  readonly #jobMemory: JobMemory
  readonly #tasks: TaskWatch
  readonly #ownerPauses: Pausable
  readonly #pauses: CpuPauses
  readonly #ending: SentryExit
  #sampled: MemorySample | undefined
  /** Limit used up when the program exited with an error. */
  #limitAtExit: LimitHit | undefined
  readonly #release: () => Promise<void>
  readonly #gone = Promise.withResolvers<void>()
  #released: Promise<void> | undefined

  /** `command`: runsc with its global flags, as the user of the wall. */
  constructor(
    wall: RunscWall,
    { command, release }: { readonly command: readonly string[]; release(): Promise<void> },
  ) {
    this.#wall = wall
    this.#jobMemory = new JobMemory(wall)
    this.#tasks = new TaskWatch(wall.resources.control)
    const { control } = wall.resources
    this.#ownerPauses = control.pauses()
    this.#pauses = new CpuPauses(control.pauses(), () => spentMs(wall.resources))
    this.#ending = new SentryExit(wall.resources)
    this.#release = release
    this.memory = new Checkpoints(wall.resources, command)
    this.id = wall.wall.id
    this.wall = wall.wall
    this.ended = this.#end()
    const { child } = wall.resources
    beforeFailedExit(child, async () => void (this.#limitAtExit = await limitInside(wall)))
  }

  handOver(): EnclosureSockets {
    return takeSockets(this.#wall.resources.child, HANDLE_FD)
  }

  /** The read-back is the first sample: a short program may have ended, and its sentry be exiting, before the next. */
  async claim(bounds: ClaimBounds): Promise<ClaimReadBack> {
    const readBack = await claim(this.#wall, bounds)
    const { held } = this.#wall
    if (!readBack.spent && held)
      this.#sampled = { bytes: readBack.bytes, bytesMax: held.usedMax, isOutOfMemory: false }
    return readBack
  }

  /** No effect: a single-use wall keeps the CPU baseline of its claim. */
  rearm(): void {}

  async tighten(bounds: EnclosureBounds): Promise<BoundMechanisms> {
    return tighten(this.#wall, bounds)
  }

  async freeze(): Promise<number> {
    const began = performance.now()
    await this.#ownerPauses.pause()
    return performance.now() - began
  }

  async thaw(): Promise<void> {
    await this.#ownerPauses.resume()
  }

  /** Returns the last sample while the sentry is exiting. */
  sample(nowMs: number): MemorySample {
    if (this.#sampled && this.#ending.look(nowMs)) return this.#sampled
    try {
      this.#sampled = this.#look(nowMs)
    } catch (error) {
      // The sentry may have begun to exit since the check above.
      if (!this.#sampled || !this.#ending.look(nowMs)) throw error
    }
    return this.#sampled
  }

  #look(nowMs: number): MemorySample {
    const { held } = this.#wall
    if (held?.throttledTo !== undefined) this.#pauses.check(held.throttledTo, nowMs)
    return sampleOf(this.#wall, { memory: this.#jobMemory, tasks: this.#tasks, nowMs })
  }

  rank(rank: WallRank): void {
    this.#wall.resources.cgroup?.rank(rank)
  }

  isOutOfMemory(): boolean {
    return isKilledForMemory(this.#wall)
  }

  /** By the count of the sentry, or by the one made before its process 1 exited. */
  async limitHit(): Promise<LimitHit | undefined> {
    const hit = await limitInside(this.#wall)
    return this.#limitAtExit ?? hit
  }

  cpuTime() {
    const sinceStartMs = spentMs(this.#wall.resources)
    return {
      sinceStartMs,
      sinceClaimMs: Math.max(0, sinceStartMs - this.#wall.spentBefore),
    }
  }

  async usage(): Promise<WallUsage> {
    const { resources, idleTasks, idleMemory, sentry } = this.#wall
    const bytes = memoryOf(resources, sentry)
    return {
      processes: Math.max(0, (await resources.control.tasks()) - idleTasks),
      bytes: Math.max(0, bytes - idleMemory),
      cpuMs: Math.round(spentMs(resources)),
      // The sentry schedules its tasks itself, and does not report their wait time.
      waitedMs: 0,
      atMs: performance.now(),
    }
  }

  facts() {
    const { id, program, pid } = this.#wall.wall
    const all = [pid, ...belowOf(pid)]
    const bytes = all.reduce((sum, one) => sum + proportionalBytes(one), 0)
    return { id, program, pid, proportionalBytes: bytes }
  }

  openEgress(): Server | undefined {
    const { egress } = this.#wall
    this.#wall.egress = undefined
    return egress
  }

  closeEgress(): void {
    this.openEgress()?.close()
  }

  async kill(): Promise<KillReceipt> {
    const began = performance.now()
    const { resources } = this.#wall
    this.#wall.spentSeen = Math.max(this.#wall.spentSeen, spentMs(resources))
    killResources(resources)
    const isGone = await isGoneInTime(this.#gone.promise)
    return { tookMs: performance.now() - began, isGone }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closeEgress()
    this.#wall.handles.close()
    this.#released ??= this.#release().finally(this.#gone.resolve)
    await this.#released
  }

  async #end(): Promise<EnclosureEnd> {
    await untilExit(this.#wall.resources.child)
    const spent = Math.max(spentMs(this.#wall.resources), this.#wall.spentSeen)
    return { ...enclosureEndOf(this.#wall, spent), limit: this.#limitAtExit }
  }
}

import { once } from 'node:events'
import type { Server, Socket } from 'node:net'
import os from 'node:os'
import {
  goneMsMax,
  type ClaimBounds,
  type ClaimReadBack,
  type Enclosure,
  type EnclosureBounds,
  type EnclosureEnd,
  type EnclosureSockets,
  type KillReceipt,
  type MemoryCapture,
  type MemorySample,
  type WallRank,
} from '../../../contract/engine.ts'
import type { BoundMechanisms, Wall, WallExit, WallUsage } from '../../../contract/warden.ts'
import { proportionalBytes } from '../../../os/proc.ts'
import { belowOf } from '../../../os/process-tree.ts'
import { Checkpoints } from './capture.ts'
import { claim, sampleOf, tighten } from './bounds.ts'
import { CpuPauses } from './cpu-pauses.ts'
import { Ending } from './ending.ts'
import { JobMemory } from './job-memory.ts'
import { killResources } from './kill.ts'
import { memoryOf, spentMs } from './measure.ts'
import { TaskWatch } from './task-watch.ts'
import type { RunscWall } from './wall.ts'

/** Messages of V8 before it aborts for lack of memory. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i
/** `runsc run`, like a shell, exits with 128 + signal number if its program was killed. */
const SIGNAL_CODES_FROM = 128
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
  readonly calls = undefined
  readonly memory: MemoryCapture
  readonly zones = undefined
  readonly connections = undefined
  readonly #wall: RunscWall
  readonly #jobMemory: JobMemory
  readonly #tasks: TaskWatch
  readonly #pauses: CpuPauses
  readonly #ending: Ending
  #sampled: MemorySample | undefined
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
    this.#pauses = new CpuPauses(wall.resources.control, () => spentMs(wall.resources))
    this.#ending = new Ending(wall.resources)
    this.#release = release
    this.memory = new Checkpoints(wall.resources, command)
    this.id = wall.wall.id
    this.wall = wall.wall
    this.ended = this.#end()
  }

  handOver(): EnclosureSockets {
    const stdio = this.#wall.resources.child.stdio as unknown as (Socket | null)[]
    const take = (fd: number) => {
      const socket = stdio[fd]!
      // On exit of the child Node resumes every stream in `stdio`, and would read bytes off a socket handed over.
      stdio[fd] = null
      return socket
    }
    // The stream keeps flowing: bytes up to the next listener are dropped.
    stdio[2]!.removeAllListeners('data')
    return { handle: take(HANDLE_FD), streams: { stdout: take(1), stderr: take(2) } }
  }

  claim(bounds: ClaimBounds): Promise<ClaimReadBack> {
    return claim(this.#wall, bounds)
  }

  /** Single-use: it keeps the baseline of its claim. */
  rearm(): void {}

  async tighten(bounds: EnclosureBounds): Promise<BoundMechanisms> {
    return tighten(this.#wall, bounds)
  }

  async freeze(): Promise<number> {
    const began = performance.now()
    await this.#wall.resources.control.pause()
    return performance.now() - began
  }

  thaw(): Promise<void> {
    return this.#wall.resources.control.resume()
  }

  /** While the sentry ends by itself the last sample stays. */
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
    if (held?.throttledTo !== undefined) this.#pauses.look(held.throttledTo, nowMs)
    return sampleOf(this.#wall, { memory: this.#jobMemory, tasks: this.#tasks, nowMs })
  }

  rank(rank: WallRank): void {
    const { cgroup } = this.#wall.resources
    cgroup?.rank({ hasJob: rank !== 'parked', isBehind: rank === 'behind' })
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
      // The sentry schedules its tasks by itself, and does not count.
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
    const isGone = await Promise.race([this.#gone.promise.then(() => true), delay(goneMsMax)])
    return { tookMs: performance.now() - began, isGone: isGone === true }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closeEgress()
    this.#released ??= this.#release().finally(this.#gone.resolve)
    await this.#released
  }

  async #end(): Promise<EnclosureEnd> {
    const { child, cgroup, complaint } = this.#wall.resources
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    let kills = 0
    try {
      kills = cgroup?.memoryKills() ?? 0
    } catch {
      // Another sweep has removed the group.
    }
    return {
      isOutOfMemory: kills > this.#wall.killsAtClaim || OUT_OF_MEMORY.test(complaint()),
      detail: `exit ${child.exitCode ?? child.signalCode ?? 'unknown'}`,
      exit: this.#exit(),
    }
  }

  #exit(): WallExit {
    const { resources, spentBefore, spentSeen } = this.#wall
    const { exitCode, signalCode } = resources.child
    const spent = Math.max(spentMs(resources), spentSeen)
    return {
      exitCode,
      signal: signalCode ?? signalOf(exitCode ?? 0),
      cpuMs: spent > 0 ? Math.max(0, spent - spentBefore) : null,
    }
  }
}

function signalOf(code: number): string | null {
  const number = code - SIGNAL_CODES_FROM
  return Object.entries(os.constants.signals).find(([, one]) => one === number)?.[0] ?? null
}

/** A bound on a wait that does not keep the event loop alive. */
function delay(ms: number): Promise<undefined> {
  return new Promise((resolve) => void setTimeout(() => resolve(undefined), ms).unref())
}

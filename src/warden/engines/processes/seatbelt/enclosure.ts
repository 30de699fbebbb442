import type {
  ClaimBounds,
  ClaimReadBack,
  Enclosure,
  EnclosureBounds,
  EnclosureEnd,
  EnclosureSockets,
  KillReceipt,
  MemorySample,
} from '../../../../contract/engine.ts'
import type { Socket } from 'node:net'
import { scratchInodesMax } from '../../../../jail/whole.ts'
import type { BoundMechanisms, Wall, WallUsage } from '../../../../contract/warden.ts'
import type { SpawnedChild } from '../../../../os/spawned-child.ts'
import { CpuPauses } from '../../cpu-pauses.ts'
import { noBound } from '../../group-bounds.ts'
import { enclosureEndOf, isGoneInTime, untilExit } from '../../wall-end.ts'
import { takeSockets } from '../../wall-sockets.ts'
import { residueBytesMax, workerFactor, workerSlackBytes } from '../claim.ts'
import { folderBytes } from './folder-bytes.ts'
import type { Readings } from './readings.ts'

/** Descriptors of the socket to the server. */
const HANDLE_FD = { worker: 3, whole: 5 } as const
/** Milliseconds between two looks at the size of the writable folder. */
const FOLDER_MS = 500

export interface SeatbeltParts {
  readonly wall: Wall
  readonly child: SpawnedChild
  /** Tail of stderr, for V8's message when it aborts. */
  readonly complaint: () => string
  readonly readings: Readings
  /** Writable folder and its bound in bytes; undefined for a worker, which has none. */
  readonly scratch: { readonly folder: string; readonly bytesMax: number } | undefined
  /** Kills the process, and removes its folder and lease. */
  release(): Promise<void>
}

/** A wall of Seatbelt: one process, which can start no other. Its limits are held by sampling. */
export class SeatbeltEnclosure implements Enclosure {
  readonly id: string
  readonly wall: Wall
  readonly isSingleUse: boolean
  /** Never resolves: the wall is its process. */
  readonly lost = new Promise<void>(() => undefined)
  readonly ended: Promise<EnclosureEnd>
  readonly #parts: SeatbeltParts
  readonly #pid: number
  readonly #pauses: CpuPauses
  readonly #gone = Promise.withResolvers<void>()
  #held: EnclosureBounds | undefined
  #spentBefore = 0
  #spentSeen = 0
  #isFrozen = false
  #isThrottled = false
  #folderBytes = 0
  #folderReadAt = -Infinity
  #released: Promise<void> | undefined

  constructor(parts: SeatbeltParts) {
    this.#parts = parts
    this.id = parts.wall.id
    this.wall = parts.wall
    this.#pid = parts.wall.pid
    this.isSingleUse = parts.scratch !== undefined
    this.#pauses = new CpuPauses(
      { pause: () => this.#throttle(true), resume: () => this.#throttle(false) },
      () => this.#spentMs(),
    )
    this.ended = this.#end()
  }

  handOver(): EnclosureSockets {
    const { child } = this.#parts
    if (this.isSingleUse) return takeSockets(child, HANDLE_FD.whole)
    return { handle: child.stdio[HANDLE_FD.worker] as Socket }
  }

  async claim(bounds: ClaimBounds): Promise<ClaimReadBack> {
    const { idleBytes } = this.wall
    const { bytes } = await this.#parts.readings.fresh(this.#pid)
    if (!this.isSingleUse && bytes > idleBytes + residueBytesMax)
      return { spent: true, enforced: noBound, bytes, idleBytes }
    this.#spentBefore = this.#spentMs()
    return { spent: false, enforced: this.#hold(bounds), bytes, idleBytes }
  }

  rearm(ranMs: number): void {
    this.#spentBefore = Math.max(this.#spentBefore, this.#spentMs() - ranMs)
  }

  async tighten(bounds: EnclosureBounds): Promise<BoundMechanisms> {
    return this.#hold(bounds)
  }

  async freeze(): Promise<number> {
    const began = performance.now()
    this.#isFrozen = true
    this.#signal()
    return performance.now() - began
  }

  async thaw(): Promise<void> {
    this.#isFrozen = false
    this.#signal()
  }

  sample(nowMs: number): MemorySample {
    const { readings, scratch } = this.#parts
    const { bytes } = readings.last(this.#pid)
    const { memory = Infinity, cpu } = this.#held ?? {}
    if (cpu !== undefined) this.#pauses.check(cpu, nowMs)
    if (scratch) this.#readFolder(scratch.folder, nowMs)
    const slack = this.isSingleUse ? 0 : workerSlackBytes.watched
    const factor = this.isSingleUse ? 1 : workerFactor
    return {
      bytes,
      bytesMax: this.wall.idleBytes + memory * factor + slack,
      isOutOfMemory: false,
      hasTooMuchDisk: this.#folderBytes > (scratch?.bytesMax ?? Infinity),
    }
  }

  /** No kernel counts it here. */
  isOutOfMemory(): boolean {
    return false
  }

  cpuTime() {
    const sinceStartMs = this.#spentMs()
    return { sinceStartMs, sinceClaimMs: Math.max(0, sinceStartMs - this.#spentBefore) }
  }

  async usage(): Promise<WallUsage> {
    const { bytes, cpuMs, atMs } = await this.#parts.readings.fresh(this.#pid)
    this.#spentSeen = Math.max(this.#spentSeen, cpuMs)
    const added = Math.max(0, bytes - this.wall.idleBytes)
    return { processes: 0, bytes: added, cpuMs, waitedMs: 0, atMs }
  }

  facts() {
    const { id, program, pid } = this.wall
    const proportionalBytes = this.#parts.readings.lastIfAny(pid)?.bytes ?? 0
    return { id, program, pid, proportionalBytes }
  }

  /** The profile allows no socket. */
  openEgress(): undefined {
    return undefined
  }

  closeEgress(): void {}

  async kill(): Promise<KillReceipt> {
    const began = performance.now()
    this.#parts.child.kill('SIGKILL')
    const isGone = await isGoneInTime(this.#gone.promise)
    return { tookMs: performance.now() - began, isGone }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#released ??= this.#parts.release().finally(this.#gone.resolve)
    await this.#released
  }

  #hold(bounds: EnclosureBounds): BoundMechanisms {
    this.#held = bounds
    const cpu = bounds.cpu === undefined ? 'none' : 'watch'
    return { memory: 'watch', processes: 'seatbelt', cpu, io: 'none' }
  }

  #spentMs(): number {
    const read = this.#parts.readings.lastIfAny(this.#pid)?.cpuMs ?? 0
    this.#spentSeen = Math.max(this.#spentSeen, read)
    return this.#spentSeen
  }

  async #throttle(isThrottled: boolean): Promise<void> {
    this.#isThrottled = isThrottled
    this.#signal()
  }

  /** Pauses of the CPU limit and of `freeze` nest. */
  #signal(): void {
    this.#parts.child.kill(this.#isFrozen || this.#isThrottled ? 'SIGSTOP' : 'SIGCONT')
  }

  #readFolder(folder: string, nowMs: number): void {
    if (nowMs - this.#folderReadAt < FOLDER_MS) return
    this.#folderReadAt = Infinity
    void this.#countFolder(folder)
  }

  async #countFolder(folder: string): Promise<void> {
    this.#folderBytes = await folderBytes(folder, scratchInodesMax)
    this.#folderReadAt = performance.now()
  }

  async #end(): Promise<EnclosureEnd> {
    const { child, complaint } = this.#parts
    await untilExit(child)
    const resources = { child, complaint, cgroup: undefined }
    return enclosureEndOf(
      { resources, killsAtClaim: 0, spentBefore: this.#spentBefore },
      this.#spentMs(),
    )
  }
}

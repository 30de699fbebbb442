import type { KillReceipt, WallRank } from '../../../contract/engine.ts'
import type { Wall, WallUsage } from '../../../contract/warden.ts'
import { attempt } from '../../../lib/attempt.ts'
import { killsAtLimit } from '../../../os/cgroup-interface.ts'
import { proportionalBytes } from '../../../os/proc.ts'
import { isGoneInTime } from '../wall-end.ts'
import { spentMs } from './bounds.ts'
import type { LiveMachine } from './source.ts'

/** The part of an enclosure that is the same for a machine that has a job and for one that was resumed from a save. */
export abstract class MachineEnclosure implements AsyncDisposable {
  readonly id: string
  abstract readonly wall: Wall
  readonly isSingleUse = true
  /** Memory before any job. */
  protected readonly idleBytes: number
  readonly #machine: Pick<LiveMachine, 'process' | 'release'>
  readonly #gone = Promise.withResolvers<void>()
  #released: Promise<void> | undefined

  constructor(machine: Pick<LiveMachine, 'process' | 'release'>) {
    this.#machine = machine
    this.id = machine.process.id
    this.idleBytes = machine.process.memory()
  }

  /** No effect: a machine serves one job, so it keeps the baseline of its claim. */
  rearm(): void {}

  rank(rank: WallRank): void {
    this.#machine.process.cgroup?.rank(rank)
  }

  facts() {
    const { id, program, pid } = this.wall
    const all = this.#machine.process.processes
    const bytes = all.reduce((sum, one) => sum + proportionalBytes(one.pid), 0)
    return { id, program, pid, proportionalBytes: bytes }
  }

  /** No listener: connections arrive on the job's channel, where the server accepts them if a network was granted. */
  openEgress(): undefined {}

  closeEgress(): void {}

  async kill(): Promise<KillReceipt> {
    const began = performance.now()
    this.signalKill()
    const isGone = await isGoneInTime(this.#gone.promise)
    return { tookMs: performance.now() - began, isGone }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#released ??= this.#machine.release().finally(this.#gone.resolve)
    await this.#released
  }

  protected signalKill(): void {
    this.#machine.process.kill()
  }

  /** OOM kills at the limit of its control group; 0 if it has none, or is gone. */
  protected get memoryKills(): number {
    return attempt(() => killsAtLimit(this.#machine.process.cgroup)) ?? 0
  }

  protected usageWith(processes: number): WallUsage {
    const { process } = this.#machine
    return {
      processes,
      bytes: Math.max(0, process.memory() - this.idleBytes),
      cpuMs: Math.round(spentMs(process)),
      // The scheduler of the guest's kernel does not report waiting times.
      waitedMs: 0,
      atMs: performance.now(),
    }
  }
}

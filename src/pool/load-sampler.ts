import os from 'node:os'
import type { Clock } from '../contract/clock.ts'
import type { Sandbox } from '../contract/provider.ts'
import type { AdmissionBudget } from './admission-counts.ts'
import type { AdmissionSlot, Admitter } from './admission.ts'
import type { WallLoads } from '../contract/warden.ts'
import { demandOf, sampleGapMsMin } from './load.ts'

export interface LoadSamplerOptions {
  readonly clock: Clock
  readonly budget: AdmissionBudget
  /** Samples of wall use. Without them jobs count with their ceilings for their whole life. */
  readonly loads?: () => Promise<WallLoads>
}

interface SampledWall {
  readonly place: AdmissionSlot
  readonly sandbox: Pick<Sandbox, 'heldBytes'>
  readonly since: number
}

/**
 * Sampling interval while jobs wait, and while running walls are at least a quarter of the runnable limit (one per
 * core).
 */
const SAMPLE_MS = { awaited: 50, busy: 250 } as const
/** Grace period in which a new wall counts as busy: its job has not begun. */
const NEW_WALL_MS = 80

/** Replaces the ceilings of running walls in admission by their use as measured by the warden. */
export class LoadSampler {
  readonly #options: LoadSamplerOptions
  readonly #admitter: Admitter
  readonly #onSample: () => void
  readonly #walls = new Map<string, SampledWall>()
  #before: WallLoads | undefined
  #isSampling = false
  /** True if a wall is long-running: it may starve, or may have gone to sleep. */
  #hasLong = false

  constructor(options: LoadSamplerOptions, admitter: Admitter, onSample: () => void) {
    this.#options = options
    this.#admitter = admitter
    this.#onSample = onSample
  }

  /** Jobs of several walls count with their ceilings: only the first wall is known here. */
  follow(sandbox: Sandbox, place: AdmissionSlot, walls: number): () => void {
    const { wall } = sandbox
    if (wall === undefined || walls > 1) return () => undefined
    this.#walls.set(wall, { place, sandbox, since: this.#options.clock.now() })
    this.schedule()
    return () => void this.#walls.delete(wall)
  }

  /** Samples only under load; otherwise there is room for all ceilings. */
  schedule(): void {
    const { clock, budget, loads } = this.#options
    if (!loads || this.#isSampling || this.#walls.size === 0) return
    const { waiting, running } = this.#admitter
    if (waiting === 0 && running * 4 < budget.runnable && !this.#hasLong) return
    this.#isSampling = true
    const every = waiting > 0 ? SAMPLE_MS.awaited : SAMPLE_MS.busy
    clock.after(every, () => void this.#sample(loads)).unref?.()
  }

  async #sample(ask: () => Promise<WallLoads>): Promise<void> {
    try {
      this.#apply(await ask())
      this.#onSample()
    } catch {
      // If the warden fails, it ends the walls, and their jobs release their slots.
      this.#before = undefined
      this.#hasLong = false
    } finally {
      this.#isSampling = false
      this.schedule()
    }
  }

  #apply(now: WallLoads): void {
    this.#hasLong = now.walls.some(({ isLong }) => isLong)
    const before = this.#before
    const demand = before ? demandOf(before, now, os.availableParallelism()) : []
    // Replaced even if no wall is in both samples: otherwise the last sample of one burst would stay the reference,
    // and no wall of the next burst could be measured.
    if (!before || now.atMs - before.atMs >= sampleGapMsMin) this.#before = now
    for (const [wall, { isBusy, memory }] of demand) {
      const one = this.#walls.get(wall)
      if (!one || this.#options.clock.now() - one.since < NEW_WALL_MS) continue
      // The wall's samples do not include bytes that the server holds for the guest.
      one.place.updateUse({ isBusy, memory: memory + (one.sandbox.heldBytes ?? 0) })
    }
  }
}

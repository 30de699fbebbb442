import os from 'node:os'
import type { Clock } from '../contract/clock.ts'
import type { Sandbox } from '../contract/provider.ts'
import type { AdmissionBudget } from './admission-counts.ts'
import type { AdmissionSlot, Admitter, MeasuredUse } from './admission.ts'
import type { WallLoads } from '../contract/warden.ts'
import { demandOf, sampleGapMsMin } from './load.ts'

export interface LoadSamplerOptions {
  readonly clock: Clock
  readonly budget: AdmissionBudget
  /** Samples of wall use. Without it jobs count with their ceilings for their whole life. */
  readonly loads?: () => Promise<WallLoads>
}

interface SampledWall {
  readonly place: AdmissionSlot
  readonly sandbox: Pick<Sandbox, 'heldBytes'>
  readonly since: number
}

/** Sampling interval while jobs wait, and while there are as many as a quarter of the runnable limit: one a core. */
const SAMPLE_MS = { awaited: 50, busy: 250 } as const
/** Grace period in which a new wall counts as busy: its job has not begun. */
const NEW_WALL_MS = 80

/** Replaces what running walls count for by what they use, as the warden measures it. */
export class LoadSampler {
  readonly #options: LoadSamplerOptions
  readonly #admitter: Admitter
  readonly #onSample: () => void
  readonly #walls = new Map<string, SampledWall>()
  #before: WallLoads | undefined
  #isSampling = false
  /** Whether a wall computes for long: it may starve, or have gone to sleep. */
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
      // The warden ends the walls if it fails, and their jobs release their slots.
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
    const demand = before ? demandOf(before, now, os.availableParallelism()) : new Map()
    // Also where no wall is in both samples: kept, the last sample of one burst would blind the whole next one.
    if (!before || now.atMs - before.atMs >= sampleGapMsMin) this.#before = now
    for (const [wall, { isBusy, memory }] of demand) {
      const one = this.#walls.get(wall)
      if (one && this.#options.clock.now() - one.since >= NEW_WALL_MS)
        updateUse(one, { isBusy, memory })
    }
  }
}

/** Adds bytes the server holds for the guest, which the wall's samples do not include. */
function updateUse({ place, sandbox }: SampledWall, { isBusy, memory }: MeasuredUse): void {
  place.updateUse({ isBusy, memory: memory + (sandbox.heldBytes ?? 0) })
}

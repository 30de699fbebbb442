import os from 'node:os'
import type { Clock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider, Sandbox } from '../contract/provider.ts'
import type { SandboxClaim } from '../contract/pipeline.ts'
import {
  createAdmitter,
  type AdmissionBudget,
  type MeasuredUse,
  type AdmissionSlot,
} from './admission.ts'
import { demandOf, sampleGapMsMin, type LoadSample } from './load.ts'
import type { SparePools } from './spare-pools.ts'

/** Walls that a job creates at run time, and their memory. */
export interface ExtraWalls {
  readonly walls: number
  readonly memory: number
}

/** Turns a profile into a sandbox: admission, then launch. */
export interface Pool {
  /** `beside`: walls the job needs in addition to its first. */
  acquire(
    profile: Profile,
    job: Job,
    signal: AbortSignal,
    beside?: ExtraWalls,
  ): Promise<SandboxClaim>
  readonly running: number
  /** Busy ones among them. */
  readonly busy: number
  readonly waiting: number
}

export interface PoolOptions {
  readonly clock: Clock
  readonly voice: Emitter
  readonly budget: AdmissionBudget
  readonly provider: (name: string) => Provider | undefined
  /** Spares yield to jobs; until then their memory counts as used. */
  readonly stock?: Pick<SparePools, 'bytes' | 'evict'>
  /** Samples of wall use. Without it jobs count with their ceilings for their whole life. */
  readonly loads?: () => Promise<LoadSample>
}

const MEMORY_SHARE = 0.6
const RUNNABLE_PER_CORE = 4
/** Beyond this, even sleeping walls cost too many processes and too much memory. */
const JOBS_PER_CORE = 64
const JOBS_MAX = 768
const QUEUE_MAX = 1_000
const WAIT_MS_MAX = 30_000
/** Sampling interval while jobs wait, and while half of the runnable limit is in use. */
const SAMPLE_MS = { awaited: 50, busy: 250 } as const
/** Grace period in which a new wall counts as busy: its job has not begun. */
const NEW_WALL_MS = 80

/** Defaults: 60 % of the memory available to this process, four busy and 64 walls per core. */
export function budgetFor(
  asked: { readonly jobs?: number | undefined; readonly waitMsMax?: number | undefined } = {},
): AdmissionBudget & { readonly jobs: number } {
  const memory = Math.min(os.totalmem(), process.constrainedMemory() || os.totalmem())
  const cores = os.availableParallelism()
  const jobs = asked.jobs ?? Math.min(JOBS_MAX, JOBS_PER_CORE * cores)
  return {
    memory: Math.round(memory * MEMORY_SHARE),
    runnable: Math.min(RUNNABLE_PER_CORE * cores, jobs),
    jobs,
    queueMax: QUEUE_MAX,
    waitMsMax: asked.waitMsMax ?? WAIT_MS_MAX,
  }
}

interface SampledWall {
  readonly place: AdmissionSlot
  readonly sandbox: Pick<Sandbox, 'heldBytes'>
  readonly since: number
}

export function createPool(options: PoolOptions): Pool {
  const { clock } = options
  const { budget, loads } = options
  const admitter = createAdmitter(budget, clock)
  const watched = new Map<string, SampledWall>()
  let before: LoadSample | undefined
  let isSampling = false

  function evictSpares(): void {
    const { stock } = options
    const over = admitter.memory + (stock?.bytes ?? 0) - budget.memory
    if (over > 0) stock?.evict(over)
  }

  /** Samples only under load; otherwise there is room for all ceilings. */
  function scheduleSample(): void {
    if (!loads || isSampling || watched.size === 0) return
    if (admitter.waiting === 0 && admitter.running * 2 < budget.runnable) return
    isSampling = true
    const every = admitter.waiting > 0 ? SAMPLE_MS.awaited : SAMPLE_MS.busy
    clock.after(every, () => void takeSample(loads)).unref?.()
  }

  async function takeSample(ask: () => Promise<LoadSample>): Promise<void> {
    try {
      const now = await ask()
      const demand = before ? demandOf(before, now, os.availableParallelism()) : new Map()
      // Also where no wall is in both samples: kept, the last sample of one burst would blind the whole next one.
      if (!before || now.atMs - before.atMs >= sampleGapMsMin) before = now
      for (const [wall, { isBusy, memory }] of demand) {
        const one = watched.get(wall)
        if (one && clock.now() - one.since >= NEW_WALL_MS) updateUse(one, { isBusy, memory })
      }
      evictSpares()
    } catch {
      // The warden ends the walls if it fails, and their jobs release their slots.
      before = undefined
    } finally {
      isSampling = false
      scheduleSample()
    }
  }

  /** Jobs of several walls count with their ceilings: only the first wall is known here. */
  function trackWall(sandbox: Sandbox, place: AdmissionSlot, walls: number): () => void {
    const { wall } = sandbox
    if (wall === undefined || walls > 1) return () => undefined
    watched.set(wall, { place, sandbox, since: clock.now() })
    scheduleSample()
    return () => void watched.delete(wall)
  }

  return {
    async acquire(profile, job, signal, beside = { walls: 0, memory: 0 }) {
      const provider = options.provider(profile.provider)
      if (!provider)
        throw new MayflyError('UNAVAILABLE', `Cannot find provider "${profile.provider}"`)
      const memory = profile.controls.memory + beside.memory
      const walls = 1 + beside.walls
      const entering = admitter.admit(job.tenant, memory, signal, walls)
      scheduleSample()
      const place = await entering
      evictSpares()
      const began = clock.now()
      try {
        const sandbox = await provider.launch(profile, clock)
        const unfollow = trackWall(sandbox, place, walls)
        return {
          sandbox,
          queueTime: place.waited,
          startTime: clock.now() - began,
          async [Symbol.asyncDispose]() {
            try {
              await sandbox[Symbol.asyncDispose]()
            } finally {
              unfollow()
              place.release()
            }
          },
        }
      } catch (error) {
        place.release()
        throw error
      }
    },
    get running() {
      return admitter.running
    },
    get busy() {
      return admitter.busy
    },
    get waiting() {
      return admitter.waiting
    },
  }
}

/** Adds bytes the server holds for the guest, which the wall's samples do not include. */
function updateUse({ place, sandbox }: SampledWall, { isBusy, memory }: MeasuredUse): void {
  place.updateUse({ isBusy, memory: memory + (sandbox.heldBytes ?? 0) })
}

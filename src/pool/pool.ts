import os from 'node:os'
import type { Clock } from '../contract/clock.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider, Sandbox } from '../contract/provider.ts'
import type { DestroyedWall, SandboxClaim } from '../contract/pipeline.ts'
import type { AdmissionBudget } from './admission-counts.ts'
import { Admitter, type AdmissionSlot, type JobNeed } from './admission.ts'
import { LoadSampler, type LoadSamplerOptions } from './load-sampler.ts'
import { Probation, type ProbationSlot } from './probation.ts'
import type { SparePools } from './spare-pools.ts'

/** Needs of a job besides its first wall, and its forecast. */
export type JobNeeds = Omit<JobNeed, 'queued'> & {
  readonly memory?: number
  /** Launches its wall in place of the provider. */
  readonly launch?: ((profile: Profile) => Promise<Sandbox>) | undefined
  /** Digest of its source, for jobs that may repeat each other. */
  readonly code?: string | undefined
}

/** Turns a profile into a sandbox: admission, then launch. */
export class Pool {
  readonly #options: PoolOptions
  readonly #admitter: Admitter
  readonly #loads: LoadSampler
  readonly #probation: Probation

  constructor(options: PoolOptions) {
    this.#options = options
    this.#admitter = new Admitter(options.budget, options.clock)
    this.#loads = new LoadSampler(options, this.#admitter, () => this.#evictSpares())
    const { clock, budget, probationPlaces: places } = options
    const { waitMsMax } = budget
    this.#probation = new Probation({ clock, waitMsMax, ...(places && { places }) })
  }

  async acquire(
    profile: Profile,
    job: Job,
    signal: AbortSignal,
    { walls: others = 0, memory: theirs = 0, launch, code, ...expected }: JobNeeds = {},
  ): Promise<SandboxClaim> {
    const { emitter, provider: providerOf } = this.#options
    const provider = providerOf(profile.provider)
    if (!provider)
      throw new MayflyError('UNAVAILABLE', `Cannot find provider "${profile.provider}"`)
    const memory = profile.controls.memory + theirs
    const walls = 1 + others
    const about = { run: job.id }
    const queued = (waiting: number) => emitter.emit('pool/queued', { waiting }, about)
    const entering = this.#admit(job, memory, signal, { walls, queued, code, ...expected })
    this.#loads.schedule()
    const place = await entering.catch((thrown: unknown) => {
      if (thrown instanceof MayflyError)
        emitter.emit('pool/refused', { code: thrown.code, because: thrown.message }, about)
      throw thrown
    })
    emitter.emit('pool/claimed', { walls, memory, waited: place.waited }, about)
    this.#evictSpares()
    const isShort = expected.isShort?.() ?? false
    const { clock } = this.#options
    const hints = { isShort, ...(place.isBehind && { isBehind: true }) }
    const own = launch ?? ((asked: Profile) => provider.launch(asked, clock, hints))
    return await this.#launch(own, profile, place, { run: job.id, walls })
  }

  /** Counts forced ends: senders with many of them, and code with two in a row, go on probation. */
  noteEnd(job: Job, status: Outcome['status'], code?: string): void {
    this.#probation.note(senderOf(job), status, code)
  }

  get running(): number {
    return this.#admitter.running
  }

  /** Number of busy walls. */
  get busy(): number {
    return this.#admitter.busy
  }

  get waiting(): number {
    return this.#admitter.waiting + this.#probation.waiting
  }

  /** A job that got through probation while nobody else was served enters it once more if others came while it waited. */
  async #admit(job: Job, memory: number, signal: AbortSignal, need: CodeNeed): Promise<Place> {
    const first = await this.#admitOnce(job, memory, signal, need)
    if (!first.yield()) return first
    const again = await this.#admitOnce(job, memory, signal, need)
    return { ...again, waited: first.waited + again.waited }
  }

  /** A session releases its probation slot at once: it may stay for hours. */
  async #admitOnce(
    job: Job,
    memory: number,
    signal: AbortSignal,
    { code, ...need }: CodeNeed,
  ): Promise<Place> {
    const entering = this.#probation.enter(senderOf(job), signal, code)
    if (this.#probation.waiting > 0) need.queued?.(this.waiting)
    const probationSlot = await entering
    if (need.isSession) probationSlot.release()
    try {
      const slot = await this.#admitter.admit(job.tenant, memory, signal, need)
      return withProbation(slot, probationSlot)
    } catch (thrown) {
      probationSlot.release()
      throw thrown
    }
  }

  async #launch(
    launch: (profile: Profile) => Promise<Sandbox>,
    profile: Profile,
    place: AdmissionSlot,
    { run, walls }: LaunchedJob,
  ): Promise<SandboxClaim> {
    const { clock, emitter } = this.#options
    const { tier } = profile
    const began = clock.now()
    try {
      const sandbox = await launch(profile)
      const unfollow = this.#loads.follow(sandbox, place, walls)
      const startTime = clock.now() - began
      const { provider: name, id, pool } = sandbox
      const wall = { provider: name, tier, sandbox: id }
      emitter.emit('tier/launched', { ...wall, pool, took: startTime }, { run })
      let destroyed: DestroyedWall | undefined
      return {
        sandbox,
        queueTime: place.waited,
        startTime,
        get destroyed() {
          return destroyed
        },
        async [Symbol.asyncDispose]() {
          try {
            await sandbox[Symbol.asyncDispose]()
            destroyed = destroyedWall(sandbox, clock)
            emitter.emit('tier/destroyed', { ...wall, ...destroyed }, { run })
          } catch (thrown) {
            const message = `Cannot destroy the wall: ${messageOf(thrown)}`
            emitter.emit('tier/lost', { ...wall, message }, { run })
            throw thrown
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
  }

  #evictSpares(): void {
    const { stock, budget } = this.#options
    const over = this.#admitter.memory + (stock?.bytes ?? 0) - budget.memory
    if (over > 0) stock?.evict(over)
  }
}

/** All visitors of the page share one tenant; each counts separately here. */
function senderOf({ tenant, principal, origin }: Job): string {
  return origin === 'page' ? `${tenant}\0${principal}` : tenant
}

/** Combines an admission slot with a probation slot: adds up both waits, and releases both. */
function withProbation(slot: AdmissionSlot, probationSlot: ProbationSlot): Place {
  return {
    isBehind: probationSlot.isBehind,
    waited: slot.waited + probationSlot.waited,
    yield() {
      const hasYielded = probationSlot.yield()
      if (hasYielded) slot.release()
      return hasYielded
    },
    updateUse: (now) => slot.updateUse(now),
    release() {
      slot.release()
      probationSlot.release()
    },
  }
}

type CodeNeed = JobNeed & Pick<JobNeeds, 'code'>

interface Place extends AdmissionSlot {
  /** True for a job that comes behind others at the processor. */
  readonly isBehind: boolean
  /** Gives the place back if it has to enter probation once more; true if it did. */
  yield(): boolean
}

interface LaunchedJob {
  readonly run: string
  readonly walls: number
}

/** Facts of the receipt of a sandbox; null without one, as from a third-party provider. */
function destroyedWall({ receipt }: Sandbox, clock: Clock): DestroyedWall {
  const { took = null, freedBytes = null, forced = null } = receipt ?? {}
  return { at: clock.date(), took, freedBytes, forced: forced?.slice(0, FORCED_MAX) ?? null }
}

/** Maximum of forced mechanisms listed per destroyed wall. */
const FORCED_MAX = 8

export interface PoolOptions extends LoadSamplerOptions {
  readonly emitter: Emitter
  readonly provider: (name: string) => Provider | undefined
  /** Walls that senders on probation may hold together; by default one less than the number of cores, at least one. */
  readonly probationPlaces?: number
  /** Spares yield to jobs; until then their memory counts as used. */
  readonly stock?: Pick<SparePools, 'bytes' | 'evict'>
}

const MEMORY_SHARE = 0.6
const RUNNABLE_PER_CORE = 4
/** Express slots, for jobs that are expected to be short. */
const EXPRESS_PER_CORE = 2
/** Beyond this, even sleeping walls cost too many processes and too much memory. */
const JOBS_PER_CORE = 64
const JOBS_MAX = 768
const QUEUE_MAX = 1_000
const WAIT_MS_MAX = 30_000

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
    express: EXPRESS_PER_CORE * cores,
    jobs,
    queueMax: QUEUE_MAX,
    waitMsMax: asked.waitMsMax ?? WAIT_MS_MAX,
  }
}

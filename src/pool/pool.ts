import os from 'node:os'
import type { Clock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider, Sandbox } from '../contract/provider.ts'
import type { SandboxClaim } from '../contract/pipeline.ts'
import { createAdmitter, type Budget, type Measured, type Place } from './admit.ts'
import { demandOf, type Loads } from './load.ts'
import type { Stock } from './stock.ts'

/** Walls that a job makes once it runs, and the bytes that they may use together. */
export interface Beside {
  readonly walls: number
  readonly memory: number
}

/** From profile to sandbox: a place under the budget, then a wall. */
export interface Pool {
  /** `beside`: what it will be made of beside its first wall. */
  acquire(profile: Profile, job: Job, signal: AbortSignal, beside?: Beside): Promise<SandboxClaim>
  readonly running: number
  /** Those of them that want the processor. */
  readonly busy: number
  readonly waiting: number
}

export interface PoolOptions {
  readonly clock: Clock
  readonly voice: Emitter
  readonly budget: Budget
  readonly provider: (name: string) => Provider | undefined
  /** What is kept ready gives way to jobs: what it holds counts as used until then. */
  readonly stock?: Pick<Stock, 'bytes' | 'giveUp'>
  /** What walls use now. Without it a job counts by its ceilings for as long as it runs. */
  readonly loads?: () => Promise<Loads>
}

const MEMORY_SHARE = 0.6
const RUNNABLE_PER_CORE = 4
/** Beyond this many, what a sleeping wall costs in processes and memory is no longer small beside what it does. */
const JOBS_PER_CORE = 64
const JOBS_MAX = 768
const QUEUE_MAX = 1_000
const WAIT_MS_MAX = 30_000
/** How often walls are looked at: while a job waits for a place, and while half of the places are taken. */
const LOOK_MS = { awaited: 50, busy: 250 } as const
/** A wall that was just started has not begun its job: until then it counts as busy. */
const YOUNG_MS = 80

/** 60 % of the memory this process may use, four busy walls a core and 64 in all, as far as not said otherwise. */
export function budgetFor(
  asked: { readonly jobs?: number | undefined; readonly waitMsMax?: number | undefined } = {},
): Budget & { readonly jobs: number } {
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

interface Watched {
  readonly place: Place
  readonly sandbox: Pick<Sandbox, 'heldBytes'>
  readonly since: number
}

export function createPool(options: PoolOptions): Pool {
  const { clock } = options
  const { budget, loads } = options
  const admitter = createAdmitter(budget, clock)
  const watched = new Map<string, Watched>()
  let before: Loads | undefined
  let isLooking = false

  function makeRoom(): void {
    const { stock } = options
    const over = admitter.memory + (stock?.bytes ?? 0) - budget.memory
    if (over > 0) stock?.giveUp(over)
  }

  /** Looks for as long as it matters what a job uses: until then each has room for all of its ceilings. */
  function lookSoon(): void {
    if (!loads || isLooking || watched.size === 0) return
    if (admitter.waiting === 0 && admitter.running * 2 < budget.runnable) return
    isLooking = true
    const every = admitter.waiting > 0 ? LOOK_MS.awaited : LOOK_MS.busy
    clock.after(every, () => void look(loads)).unref?.()
  }

  async function look(ask: () => Promise<Loads>): Promise<void> {
    try {
      const now = await ask()
      const demand = before ? demandOf(before, now, os.availableParallelism()) : new Map()
      if (!before || demand.size > 0 || now.walls.length === 0) before = now
      for (const [wall, { isBusy, memory }] of demand) {
        const one = watched.get(wall)
        if (one && clock.now() - one.since >= YOUNG_MS) recount(one, { isBusy, memory })
      }
      makeRoom()
    } catch {
      // A warden that cannot answer ends its walls: their jobs give their places back.
      before = undefined
    } finally {
      isLooking = false
      lookSoon()
    }
  }

  /** A job of several walls counts by its ceilings: only its first is known here. */
  function follow(sandbox: Sandbox, place: Place, walls: number): () => void {
    const { wall } = sandbox
    if (wall === undefined || walls > 1) return () => undefined
    watched.set(wall, { place, sandbox, since: clock.now() })
    lookSoon()
    return () => void watched.delete(wall)
  }

  return {
    async acquire(profile, job, signal, beside = { walls: 0, memory: 0 }) {
      const provider = options.provider(profile.provider)
      if (!provider)
        throw new MayflyError('UNAVAILABLE', `Cannot find provider "${profile.provider}"`)
      const memory = profile.controls.memory + beside.memory
      const walls = 1 + beside.walls
      const entering = admitter.enter(job.tenant, memory, signal, walls)
      lookSoon()
      const place = await entering
      makeRoom()
      const began = clock.now()
      try {
        const sandbox = await provider.launch(profile, clock)
        const unfollow = follow(sandbox, place, walls)
        return {
          sandbox,
          queueTime: place.waited,
          startTime: clock.now() - began,
          async [Symbol.asyncDispose]() {
            try {
              await sandbox[Symbol.asyncDispose]()
            } finally {
              unfollow()
              place.leave()
            }
          },
        }
      } catch (error) {
        place.leave()
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

/** A guest makes the server hold bytes that no look at its wall finds. */
function recount({ place, sandbox }: Watched, { isBusy, memory }: Measured): void {
  place.recount({ isBusy, memory: memory + (sandbox.heldBytes ?? 0) })
}

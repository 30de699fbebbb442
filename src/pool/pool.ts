import os from 'node:os'
import type { Clock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Voice } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider } from '../contract/provider.ts'
import type { Claim } from '../contract/rooms.ts'
import { createAdmitter, type Budget } from './admit.ts'
import type { Stock } from './stock.ts'

/** Walls that a job makes once it runs, and the bytes that they may use together. */
export interface Beside {
  readonly walls: number
  readonly memory: number
}

/** From profile to sandbox: a place under the budget, then a wall. */
export interface Pool {
  /** `beside`: what it will be made of beside its first wall. */
  acquire(profile: Profile, job: Job, signal: AbortSignal, beside?: Beside): Promise<Claim>
  readonly running: number
  readonly waiting: number
}

export interface PoolOptions {
  readonly clock: Clock
  readonly voice: Voice
  readonly budget: Budget
  readonly provider: (name: string) => Provider | undefined
  /** What is kept ready gives way to jobs: what it holds counts as used until then. */
  readonly stock?: Pick<Stock, 'bytes' | 'giveUp'>
}

const MEMORY_SHARE = 0.6
const RUNNABLE_PER_CORE = 4
const QUEUE_MAX = 1_000
const WAIT_MS_MAX = 10_000

/** 60 % of the memory this process may use, and four runnable walls a core. */
export function defaultBudget(): Budget {
  const memory = Math.min(os.totalmem(), process.constrainedMemory() || os.totalmem())
  return {
    memory: Math.round(memory * MEMORY_SHARE),
    runnable: RUNNABLE_PER_CORE * os.availableParallelism(),
    queueMax: QUEUE_MAX,
    waitMsMax: WAIT_MS_MAX,
  }
}

export function createPool(options: PoolOptions): Pool {
  const { clock } = options
  const admitter = createAdmitter(options.budget, clock)

  function makeRoom(): void {
    const { stock } = options
    const over = admitter.memory + (stock?.bytes ?? 0) - options.budget.memory
    if (over > 0) stock?.giveUp(over)
  }

  return {
    async acquire(profile, job, signal, beside = { walls: 0, memory: 0 }) {
      const provider = options.provider(profile.provider)
      if (!provider)
        throw new MayflyError('UNAVAILABLE', `Cannot find provider "${profile.provider}"`)
      const memory = profile.controls.memory + beside.memory
      const place = await admitter.enter(job.tenant, memory, signal, 1 + beside.walls)
      makeRoom()
      const began = clock.now()
      try {
        const sandbox = await provider.launch(profile, clock)
        return {
          sandbox,
          queueTime: place.waited,
          startTime: clock.now() - began,
          async [Symbol.asyncDispose]() {
            try {
              await sandbox[Symbol.asyncDispose]()
            } finally {
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
    get waiting() {
      return admitter.waiting
    },
  }
}

import os from 'node:os'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import { TenantScores } from './tenant-scores.ts'

/**
 * Crash-loop back-off among tenants: those whose jobs were ended by force again and again share a few places, as long as
 * others are served beside them.
 *
 * Problem: twenty tenants that send a fork bomb or a loop, and send it again at its end, keep every core busy with starting,
 * killing and freeing walls. No weight helps against that: the kernel does not preempt itself while it copies or frees
 * memory.
 *
 * Mechanism: each forced end adds one to the score of its tenant, which halves every half a minute. From three on the jobs of
 * all such tenants together hold one wall less than there are cores, and one at least, taken in turns. Nobody waits while no other tenant is
 * served, and a few forced ends now and then cost nothing. The idea is that of CrashLoopBackOff in Kubernetes.
 *
 * Not handled: execs of a session, which run in the wall that it has.
 */
export class Probation {
  readonly #clock: Clock
  readonly #places: number
  readonly #waitMsMax: number
  readonly #scores: TenantScores
  /** By tenant; no queue is empty. */
  readonly #queues = new Map<string, Waiting[]>()
  #held = 0
  /** Last time a tenant in good standing began a job. */
  #othersAt = -Infinity
  #recheck: Timer | undefined

  constructor({ clock, waitMsMax, places = os.availableParallelism() - 1 }: ProbationOptions) {
    this.#clock = clock
    this.#scores = new TenantScores(clock)
    this.#places = Math.max(1, places)
    this.#waitMsMax = waitMsMax
  }

  /** Counts how a job ended. */
  note(tenant: string, status: Outcome['status']): void {
    if (forced.has(status)) this.#scores.add(tenant)
  }

  /**
   * Waits for a place if the tenant is on probation and others are served. Throws MayflyError RATE_LIMITED after the longest
   * wait, and AbortError.
   */
  async enter(tenant: string, signal: AbortSignal): Promise<ProbationPlace> {
    if (!this.#isOn(tenant)) {
      this.#othersAt = this.#clock.now()
      return free
    }
    if (this.#queues.size === 0 && this.#hasRoom()) return this.#take(this.#clock.now())
    return await this.#wait(tenant, signal)
  }

  /** Jobs that wait here. */
  get waiting(): number {
    return [...this.#queues.values()].reduce((sum, queue) => sum + queue.length, 0)
  }

  #isOn(tenant: string): boolean {
    return this.#scores.of(tenant) >= SCORE_ON
  }

  #hasRoom(): boolean {
    return this.#held < this.#places || this.#clock.now() - this.#othersAt > OTHERS_MS
  }

  #take(since: number): ProbationPlace {
    let isHeld = true
    this.#held++
    return {
      waited: this.#clock.now() - since,
      release: () => {
        if (!isHeld) return
        isHeld = false
        const rest = this.#clock.after(REST_MS, () => {
          this.#held--
          this.#next()
        })
        rest.unref?.()
      },
    }
  }

  #wait(tenant: string, signal: AbortSignal): Promise<ProbationPlace> {
    const { promise, resolve, reject } = Promise.withResolvers<ProbationPlace>()
    const since = this.#clock.now()
    const leave = () => {
      one.timer.cancel()
      signal.removeEventListener('abort', cancel)
      this.#remove(tenant, one)
    }
    const cancel = () => (leave(), reject(new DOMException('The job was cancelled', 'AbortError')))
    const one: Waiting = {
      timer: this.#clock.after(this.#waitMsMax, () => (leave(), reject(tooOften()))),
      go: () => (leave(), resolve(this.#take(since))),
    }
    signal.addEventListener('abort', cancel, { once: true })
    this.#queues.set(tenant, [...(this.#queues.get(tenant) ?? []), one])
    this.#checkSoon()
    return promise
  }

  /** Round-robin: a tenant that was served moves to the back. */
  #next(): void {
    while (this.#queues.size > 0 && this.#hasRoom()) {
      const [tenant, [first]] = this.#queues.entries().next().value!
      first!.go()
      const rest = this.#queues.get(tenant)
      if (!rest) continue
      this.#queues.delete(tenant)
      this.#queues.set(tenant, rest)
    }
  }

  /** The others may stop coming. */
  #checkSoon(): void {
    this.#recheck ??= this.#clock.after(CHECK_MS, () => {
      this.#recheck = undefined
      this.#next()
      if (this.#queues.size > 0) this.#checkSoon()
    })
    this.#recheck.unref?.()
  }

  #remove(tenant: string, one: Waiting): void {
    const rest = (this.#queues.get(tenant) ?? []).filter((other) => other !== one)
    if (rest.length > 0) this.#queues.set(tenant, rest)
    else this.#queues.delete(tenant)
  }
}

export interface ProbationOptions {
  readonly clock: Clock
  /** Longest wait, in milliseconds. */
  readonly waitMsMax: number
  /** Walls that tenants on probation may hold together; by default one less than there are cores, and one at least. */
  readonly places?: number
}

export interface ProbationPlace {
  /** In milliseconds. */
  readonly waited: number
  /** Idempotent. */
  release(): void
}

interface Waiting {
  readonly timer: Timer
  go(): void
}

const forced: ReadonlySet<Outcome['status']> = new Set(['timeout', 'limit', 'terminated'])
const free: ProbationPlace = { waited: 0, release: () => undefined }
const SCORE_ON = 3
/** Others are served if one of them came in so long. */
const OTHERS_MS = 5_000
const CHECK_MS = 500
const RETRY_MS = 10_000
/** A place is free again so long after its job: freeing a wall and starting another costs what a short job does. */
const REST_MS = 1_000

function tooOften(): MayflyError {
  const message = 'Cannot accept the job now: too many jobs of this tenant were ended at a limit'
  return new MayflyError('RATE_LIMITED', message, {
    hint: 'Look at the status of the last outcomes; such jobs wait while other tenants are served',
    retryAfterMs: RETRY_MS,
  })
}

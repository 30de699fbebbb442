import os from 'node:os'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import { TenantLru, type LruItem } from './tenant-lru.ts'
import { TenantScores } from './tenant-scores.ts'

/**
 * Crash-loop back-off for tenants, and for code: those whose jobs are repeatedly ended by force share a few slots, as long as
 * others are served.
 *
 * Problem: twenty tenants that send a fork bomb or a loop, and send it again when it ends, keep every core busy with
 * starting, killing and freeing walls. CPU weights do not help: the kernel does not preempt itself while it copies or
 * frees memory.
 *
 * Mechanism: each forced end adds one to the score of its tenant, which halves every 30 seconds. At three or more the
 * tenant is on probation: all such tenants together hold at most one wall less than the number of cores (at least
 * one), round-robin. They do not wait while no other tenant is served, and occasional forced ends cost nothing.
 * Code whose last two runs for a tenant both ended by force is on probation for it by itself, until a run ends otherwise: a
 * loop of five seconds takes half a minute to bring its tenant to a score of three. Compare CrashLoopBackOff in Kubernetes.
 * Walls of those on probation, and of code after its first forced end, come behind all others where these want the processor:
 * those that run already when another tenant comes would delay it otherwise.
 *
 * Not handled: execs of a session, which run in the wall of that session.
 */
export class Probation {
  readonly #clock: Clock
  readonly #slots: number
  readonly #waitMsMax: number
  readonly #scores: TenantScores
  /** Forced ends in a row, by tenant and code. */
  readonly #runs: TenantLru<CodeRuns>
  /** By tenant; no queue is empty. */
  readonly #queues = new Map<string, Waiting[]>()
  #inUse = 0
  /** Last time a tenant in good standing began a job. */
  #othersAt = -Infinity
  #recheck: Timer | undefined

  constructor({ clock, waitMsMax, places = os.availableParallelism() - 1 }: ProbationOptions) {
    this.#clock = clock
    this.#scores = new TenantScores(clock)
    this.#runs = new TenantLru(() => RUNS_BOUNDS, clock)
    this.#slots = Math.max(1, places)
    this.#waitMsMax = waitMsMax
  }

  /** Adds a forced end to the score of the tenant, and to those in a row of its code, which another end clears. */
  note(tenant: string, status: Outcome['status'], code?: string): void {
    const isForced = forced.has(status)
    if (isForced) this.#scores.add(tenant)
    if (code === undefined) return
    const forcedEnds = isForced ? this.#forcedEndsOf(tenant, code) + 1 : 0
    if (forcedEnds === 0 && !this.#runs.get(tenant, code)) return
    this.#runs.put(tenant, code, { bytes: ENTRY_BYTES, at: this.#clock.now(), forcedEnds })
  }

  /**
   * Waits for a slot if the tenant or this code of it is on probation, and others are served. Throws MayflyError RATE_LIMITED
   * at the longest wait, and AbortError. `code`: digest of its source.
   */
  async enter(tenant: string, signal: AbortSignal, code?: string): Promise<ProbationSlot> {
    if (signal.aborted) throw cancelled()
    const forcedEnds = this.#forcedEndsOf(tenant, code)
    if (this.#scores.of(tenant) < SCORE_ON && forcedEnds < FORCED_IN_A_ROW) {
      this.#othersAt = this.#clock.now()
      return forcedEnds === 0 ? free : freeBehind
    }
    if (this.#queues.size === 0 && this.#hasRoom()) return this.#take(this.#clock.now())
    return await this.#wait(tenant, signal)
  }

  /** Number of waiting jobs. */
  get waiting(): number {
    return [...this.#queues.values()].reduce((sum, queue) => sum + queue.length, 0)
  }

  #forcedEndsOf(tenant: string, code: string | undefined): number {
    return code === undefined ? 0 : (this.#runs.get(tenant, code)?.forcedEnds ?? 0)
  }

  #hasRoom(): boolean {
    return this.#inUse < this.#slots || !this.#areOthersServed()
  }

  #areOthersServed(): boolean {
    return this.#clock.now() - this.#othersAt <= OTHERS_MS
  }

  #take(since: number): ProbationSlot {
    let isHeld = true
    this.#inUse++
    return {
      waited: this.#clock.now() - since,
      isBehind: true,
      yield: () => {
        if (!isHeld || this.#inUse <= this.#slots || !this.#areOthersServed()) return false
        isHeld = false
        this.#inUse--
        return true
      },
      release: () => {
        if (!isHeld) return
        isHeld = false
        const rest = this.#clock.after(RELEASE_DELAY_MS, () => {
          this.#inUse--
          this.#next()
        })
        rest.unref?.()
      },
    }
  }

  #wait(tenant: string, signal: AbortSignal): Promise<ProbationSlot> {
    const { promise, resolve, reject } = Promise.withResolvers<ProbationSlot>()
    const since = this.#clock.now()
    const leave = () => {
      one.timer.cancel()
      signal.removeEventListener('abort', cancel)
      this.#remove(tenant, one)
    }
    const cancel = () => (leave(), reject(cancelled()))
    const one: Waiting = {
      timer: this.#clock.after(this.#waitMsMax, () => (leave(), reject(tooOften()))),
      go: () => (leave(), resolve(this.#take(since))),
    }
    signal.addEventListener('abort', cancel, { once: true })
    this.#queues.getOrInsert(tenant, []).push(one)
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

  /** Polls, because other tenants may stop sending jobs, which ends the wait. */
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
  /** Walls that tenants on probation may hold together; by default one less than the number of cores, at least one. */
  readonly places?: number
}

export interface ProbationSlot {
  /** Time in the queue, in milliseconds. */
  readonly waited: number
  /** True on probation, and for code whose last run was ended by force: other jobs come first at the processor. */
  readonly isBehind: boolean
  /**
   * Gives the slot back at once if others are served by now and too many are held: it was taken while nobody else was, and
   * its job has not begun. True if it did; the caller enters again.
   */
  yield(): boolean
  /** Idempotent. */
  release(): void
}

interface Waiting {
  readonly timer: Timer
  go(): void
}

interface CodeRuns extends LruItem {
  readonly forcedEnds: number
}

const forced: ReadonlySet<Outcome['status']> = new Set(['timeout', 'limit', 'terminated'])
const free: ProbationSlot = {
  waited: 0,
  isBehind: false,
  yield: () => false,
  release: () => undefined,
}
const freeBehind: ProbationSlot = { ...free, isBehind: true }
const SCORE_ON = 3
/** A second run by chance of what the first did: of jobs of which one in twenty is too slow, one in four hundred. */
const FORCED_IN_A_ROW = 2
/** Approximate size of one entry. */
const ENTRY_BYTES = 256
/** Code that did not run for ten minutes begins anew. */
const RUNS_BOUNDS = { bytes: 2 * 2 ** 20, age: 600_000 } as const
/** Other tenants count as served if one of them began a job within this time. */
const OTHERS_MS = 5_000
const CHECK_MS = 500
const RETRY_MS = 10_000
/** Delay before a slot is free again: freeing a wall and starting another costs about as much CPU as a short job. */
const RELEASE_DELAY_MS = 1_000

function cancelled(): DOMException {
  return new DOMException('The job was cancelled', 'AbortError')
}

function tooOften(): MayflyError {
  const message =
    'Cannot accept the job now: too many jobs of this tenant, or with this code, were ended at a limit'
  return new MayflyError('RATE_LIMITED', message, {
    hint: 'Check the status of the last outcomes: these jobs wait while others are served',
    retryAfterMs: RETRY_MS,
  })
}

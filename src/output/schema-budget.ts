import { threadMs } from '../lib/thread-ms.ts'

/**
 * Step limit for all schema checks of one job. Checks run on the server's event loop, with a caller's schema on a
 * guest's data, and block everybody else. Steps are deterministic: a visited value, a looked-up name, a listed key,
 * a compared item, a piece of text. A step takes 0.02 to 0.3 µs, so the limit stays below half a second.
 */
export const stepsMax = 6_000_000
/**
 * Time limit besides steps, for costs that steps underestimate. Thread CPU time, not wall time: on a busy machine an
 * honest check must not fail.
 */
export const workMsMax = 400
/** Steps between clock reads, which take 2 µs. */
const stepsBetween = 1000
/** UTF-16 units of text per step. */
export const unitsOfStep = 32

/** Counts the work of one job's checks, and throws `spent` at the limit. Pure except for its clock. */
export class StepBudget {
  readonly #now: () => number
  #steps = 0
  #lookAt = stepsBetween
  #msLeft = workMsMax
  #since = 0

  constructor(now: () => number = threadMs) {
    this.#now = now
  }

  /** Starts the time of a check, until `pause`. */
  resume(): void {
    this.#since = this.#now()
    if (this.#steps > stepsMax || this.#msLeft < 0) throw spent
  }

  pause(): void {
    this.#msLeft -= this.#now() - this.#since
  }

  /** Call before the work with its cost; fractions count. */
  spend(steps: number): void {
    this.#steps += steps
    if (this.#steps < this.#lookAt) return
    this.#lookAt = this.#steps + stepsBetween
    if (this.#steps > stepsMax || this.#now() - this.#since > this.#msLeft) throw spent
  }

  /** Steps spent so far. */
  get steps(): number {
    return this.#steps
  }
}

/** Thrown at the limit. */
export const spent = new Error('The work for this check is spent')

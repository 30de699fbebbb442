import { threadMs } from '../lib/thread-ms.ts'

/**
 * Steps that the checks of one job may take together. Checking is done in the server's own loop, by a caller's schema
 * on a guest's data, and nobody else is served meanwhile. Steps are the same for the same data on every machine: a look
 * at one value, a name that is looked for, a key that is listed, an item that is held against another, a piece of text.
 * A step takes 0.02 to 0.3 µs, so that all of them together stay below half a second.
 */
export const stepsMax = 6_000_000
/**
 * Milliseconds beside the steps, for what they are wrong about. They are those that this thread worked, not those that
 * went by: on a busy machine an honest check lasts longer and takes no more.
 */
export const workMsMax = 400
/** Between two looks at the clock, which takes 2 µs. */
const stepsBetween = 1000
/** Text of one step, in UTF-16 units. */
export const unitsOfStep = 32

/** Counts the work of the checks of one job, and throws `spent` once it is too much. Pure but for its clock. */
export class Budget {
  readonly #now: () => number
  #steps = 0
  #lookAt = stepsBetween
  #msLeft = workMsMax
  #since = 0

  constructor(now: () => number = threadMs) {
    this.#now = now
  }

  /** A check begins, and its time counts until `pause`. */
  resume(): void {
    this.#since = this.#now()
    if (this.#steps > stepsMax || this.#msLeft < 0) throw spent
  }

  pause(): void {
    this.#msLeft -= this.#now() - this.#since
  }

  /** Call before the work, with what it takes; parts of a step count. */
  spend(steps: number): void {
    this.#steps += steps
    if (this.#steps < this.#lookAt) return
    this.#lookAt = this.#steps + stepsBetween
    if (this.#steps > stepsMax || this.#now() - this.#since > this.#msLeft) throw spent
  }

  /** What was spent so far. */
  get steps(): number {
    return this.#steps
  }
}

/** Thrown where a budget ends. */
export const spent = new Error('The work for this check is spent')

import type { Clock, Timer } from '../../src/contract/clock.ts'

/** Callbacks one run may have: past it, something re-arms itself for ever. */
const callbacksMax = 1_000_000

interface Waiting {
  readonly at: number
  readonly call: () => void
}

/**
 * Time that passes only when everything that can happen now has happened. Callbacks come in order of time, then of
 * asking, and between any two of them promises settle as far as they can, so that a run is the same every time.
 */
export class SimulatedClock implements Clock {
  #now = 0
  /** In the order in which they will be called; short, so that a sorted list beats a heap. */
  readonly #queue: Waiting[] = []

  now(): number {
    return this.#now
  }

  date(): number {
    return 1_700_000_000_000 + this.#now
  }

  after(ms: number, then: () => void): Timer {
    const waiting = { at: this.#now + Math.max(0, ms), call: then }
    const later = this.#queue.findIndex(({ at }) => at > waiting.at)
    this.#queue.splice(later === -1 ? this.#queue.length : later, 0, waiting)
    return { cancel: () => this.#forget(waiting) }
  }

  /** How many callbacks are still to come. */
  get pending(): number {
    return this.#queue.length
  }

  /** Lets time pass until nothing is left to happen, or until it is `until`. */
  async run(until: number = Infinity): Promise<void> {
    for (let callbacks = 0; callbacks < callbacksMax; callbacks++) {
      await promisesSettle()
      const next = this.#queue[0]
      if (!next || next.at > until) return this.#rest(until)
      this.#queue.shift()
      this.#now = next.at
      next.call()
    }
    throw new Error(`Cannot finish the simulation: more than ${callbacksMax} callbacks came`)
  }

  #rest(until: number): void {
    if (until !== Infinity) this.#now = Math.max(this.#now, until)
  }

  #forget(waiting: Waiting): void {
    const place = this.#queue.indexOf(waiting)
    if (place >= 0) this.#queue.splice(place, 1)
  }
}

/** The next tick comes when no microtask is left. */
function promisesSettle(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve)
  })
}

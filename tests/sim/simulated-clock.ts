import type { Clock, Timer } from '../../src/contract/clock.ts'

/** Limit of callbacks per run; beyond it a timer re-arms itself forever. */
const callbacksMax = 1_000_000

interface Waiting {
  readonly at: number
  readonly call: () => void
}

/**
 * Virtual time that passes only when all microtasks have settled. Callbacks run in order of time, then of
 * registration, which makes runs deterministic.
 */
export class SimulatedClock implements Clock {
  #now = 0
  /** Sorted by time; short enough that a sorted list beats a heap. */
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

  /** Number of pending callbacks. */
  get pending(): number {
    return this.#queue.length
  }

  /** Runs callbacks until none is left, or until `until`. */
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

/** A macrotask runs once the microtask queue is empty. */
function promisesSettle(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve)
  })
}

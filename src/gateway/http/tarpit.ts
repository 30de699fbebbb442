import type { Clock } from '../../contract/clock.ts'

/** Refusals a second answered at once per client; more are delayed. */
const PER_SECOND = 20
const BURST = 40
const EVERY_MS = 1_000 / PER_SECOND
/** Maximum delay, below common client timeouts. */
const HELD_MS_MAX = 1_000
const ASKERS_MAX = 10_000

/**
 * Tarpit: delays answers to a client that repeats refused requests at once, so that its flood slows itself and
 * nobody else. A delayed answer costs one timer; the connection limit bounds how many there are.
 */
export class Tarpit {
  readonly #clock: Clock
  /** Next free turn by client, on the Clock; the least recently used entry is evicted. */
  readonly #turns = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Milliseconds to delay this refusal; 0 below the rate. */
  hold(asker: string): number {
    const now = this.#clock.now()
    const turn = Math.max(this.#turns.get(asker) ?? -Infinity, now - BURST * EVERY_MS) + EVERY_MS
    this.#turns.delete(asker)
    this.#turns.set(asker, Math.min(turn, now + HELD_MS_MAX))
    if (this.#turns.size > ASKERS_MAX) this.#turns.delete(this.#turns.keys().next().value!)
    return Math.min(HELD_MS_MAX, Math.max(0, turn - now))
  }
}

import type { Clock } from '../../contract/clock.ts'

/** Refusals a second that one asker is answered at once; more of them wait for their turn. */
const PER_SECOND = 20
const BURST = 40
const EVERY_MS = 1_000 / PER_SECOND
/** Nobody is held longer, so that a request never waits for more than a client's patience. */
const HELD_MS_MAX = 1_000
const ASKERS_MAX = 10_000

/**
 * Whoever is refused and asks again at once pays with time, not everybody else with theirs: what is held here costs a
 * timer, and how many are is bounded by the connections there may be. The idea is that of a tarpit.
 */
export class Pace {
  readonly #clock: Clock
  /** When the next one's turn is, on the Clock, by asker; the one unheard of for longest is forgotten first. */
  readonly #turns = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Milliseconds to hold this refusal back; 0 for all but a flood. */
  hold(asker: string): number {
    const now = this.#clock.now()
    const turn = Math.max(this.#turns.get(asker) ?? -Infinity, now - BURST * EVERY_MS) + EVERY_MS
    this.#turns.delete(asker)
    this.#turns.set(asker, Math.min(turn, now + HELD_MS_MAX))
    if (this.#turns.size > ASKERS_MAX) this.#turns.delete(this.#turns.keys().next().value!)
    return Math.min(HELD_MS_MAX, Math.max(0, turn - now))
  }
}

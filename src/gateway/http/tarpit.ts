import type { Clock } from '../../contract/clock.ts'

/** Refusals a second answered at once per client; more are delayed. */
const PER_SECOND = 20
const BURST = 40
const EVERY_MS = 1_000 / PER_SECOND
/** Maximum delay, below common client timeouts. */
const DELAY_MS_MAX = 1_000
const ASKERS_MAX = 10_000

/**
 * Tarpit: delays responses to a client that immediately repeats refused requests, so that its flood slows itself and
 * no other client. A delayed response costs one timer; the connection limit bounds their number.
 */
export class Tarpit {
  readonly #clock: Clock
  /** Time of the next undelayed refusal by client, on the Clock; the least recently used entry is evicted. */
  readonly #turns = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Milliseconds to delay this refusal; 0 below the rate. */
  delayMs(client: string): number {
    const now = this.#clock.now()
    const turn = Math.max(this.#turns.get(client) ?? -Infinity, now - BURST * EVERY_MS) + EVERY_MS
    this.#turns.delete(client)
    this.#turns.set(client, Math.min(turn, now + DELAY_MS_MAX))
    if (this.#turns.size > ASKERS_MAX) this.#turns.delete(this.#turns.keys().next().value!)
    return Math.min(DELAY_MS_MAX, Math.max(0, turn - now))
  }
}

import type { Clock } from '../contract/clock.ts'

/** Wait after the first refusal of a probe, and the longest after later ones. */
export const retryMsMin = 60_000
export const retryMsMax = 600_000

interface Refusal {
  readonly waitMs: number
  readonly againAt: number
}

/** Times at which refused probes may be tried again, by name: a minute after the first refusal, then twice as long each time. */
export class RetryTimes {
  readonly #clock: Pick<Clock, 'now'>
  readonly #refusals = new Map<string, Refusal>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  refused(name: string): void {
    const before = this.#refusals.get(name)
    const waitMs = before ? Math.min(before.waitMs * 2, retryMsMax) : retryMsMin
    this.#refusals.set(name, { waitMs, againAt: this.#clock.now() + waitMs })
  }

  succeeded(name: string): void {
    this.#refusals.delete(name)
  }

  isDue(name: string): boolean {
    const refusal = this.#refusals.get(name)
    return refusal !== undefined && this.#clock.now() >= refusal.againAt
  }
}

import type { ApiFailure } from './api-client.ts'
import { faultOf } from './api-client.ts'
import type { MayflyError } from '../../../contract/error.ts'

/** Maximum attempts: boots and loads of a microVM fail sporadically. */
const TRIES_MAX = 3

export interface TryCounts {
  readonly tries: number
  readonly successes: number
  /** Failures by request or step, and kind, such as `PUT /actions late`. */
  readonly failures: Readonly<Record<string, number>>
}

/**
 * Retries starts, up to three attempts, and counts them. Each attempt makes a machine of its own and kills it before it rejects. A
 * refused request is not retried, because it would be refused again; nor is an error that no machine caused.
 */
export class Tries {
  #tries = 0
  #successes = 0
  readonly #failures = new Map<string, number>()

  get counts(): TryCounts {
    return {
      tries: this.#tries,
      successes: this.#successes,
      failures: Object.fromEntries(this.#failures),
    }
  }

  /** Resolves with the first success; rejects with the last failure. */
  async run<T>(start: (attempt: number) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      this.#tries += 1
      try {
        const started = await start(attempt)
        this.#successes += 1
        return started
      } catch (error) {
        this.#count(error)
        const fault = faultOf(error)
        if (fault === undefined || fault === 'refused' || attempt === TRIES_MAX) throw error
      }
    }
  }

  #count(error: unknown): void {
    const fault = faultOf(error)
    const details = fault && ((error as MayflyError).details as ApiFailure)
    const name = details ? `${details.request} ${fault}` : 'other'
    this.#failures.set(name, (this.#failures.get(name) ?? 0) + 1)
  }
}

import type { Clock } from '../contract/clock.ts'

/**
 * Scores of tenants: each `add` counts one, and scores halve every `HALF_MS`. Beyond `TENANTS_MAX` the tenant that was
 * scored longest ago is dropped.
 */
export class TenantScores {
  readonly #clock: Clock
  /** In order of the last `add`. */
  readonly #scores = new Map<string, { readonly score: number; readonly at: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(tenant: string): void {
    const score = Math.min(SCORE_MAX, this.of(tenant) + 1)
    this.#scores.delete(tenant)
    this.#scores.set(tenant, { score, at: this.#clock.now() })
    const [oldest] = this.#scores.keys()
    if (this.#scores.size > TENANTS_MAX) this.#scores.delete(oldest!)
  }

  of(tenant: string): number {
    const found = this.#scores.get(tenant)
    return found ? found.score * 0.5 ** ((this.#clock.now() - found.at) / HALF_MS) : 0
  }
}

/** Decays to below three in less than 45 seconds. */
const SCORE_MAX = 8
const HALF_MS = 30_000
const TENANTS_MAX = 10_000

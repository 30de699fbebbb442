import type { Clock } from '../contract/clock.ts'

/** Scores of tenants that grow by one at a time and halve as time passes. Of tenants beyond the most, the one scored longest ago is forgotten. */
export class TenantScores {
  readonly #clock: Clock
  /** The tenant that was scored last comes last. */
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

/** Below three again after three quarters of a minute. */
const SCORE_MAX = 8
const HALF_MS = 30_000
const TENANTS_MAX = 10_000

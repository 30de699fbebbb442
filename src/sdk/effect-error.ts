import type { Status } from '../contract/exit-codes.ts'
import type { Outcome } from '../contract/outcome.ts'

/** Effect that failed: it threw, was stopped, or had no wall. `outcome` has the details. */
export class EffectError extends Error {
  override readonly name = 'EffectError'
  /** Code such as `TIMEOUT`, `MEMORY`, `UNAVAILABLE`; `USER_ERROR` for errors of the effect itself. */
  readonly code: string
  readonly status: Status
  readonly outcome: Outcome

  constructor(outcome: Outcome) {
    const { error, status } = outcome
    super(error?.message ?? `The effect ended with status "${status}"`)
    this.code = error?.code ?? status.toUpperCase()
    this.status = status
    this.outcome = outcome
  }
}

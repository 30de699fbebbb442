import type { Outcome, Status } from '../contract/outcome.ts'

/** An effect that did not answer: it threw, was stopped, or found no wall. `outcome` says everything. */
export class EffectError extends Error {
  override readonly name = 'EffectError'
  /** Such as `TIMEOUT`, `MEMORY`, `UNAVAILABLE`; `USER_ERROR` for what the effect threw itself. */
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

import type { Clock, Timer } from '../contract/clock.ts'

/** Time that a library leaves its caller to name a first job. */
const PATIENCE_MS = 20

export interface HeadStartParts {
  readonly clock: Pick<Clock, 'after'>
  /** True to wait for a first job; otherwise the work begins at once. */
  readonly isPatient: boolean
  /** Proves the walls that jobs use by default. */
  readonly prove: () => Promise<void>
  /** Starts the analysis process. */
  readonly warm: () => Promise<unknown>
}

/**
 * Work ahead of the first job: proofs of walls, and an analysis process that is warm. A job on the mock needs neither, and each
 * process of a test suite would pay for both: a library that gets such a job first begins with the first job that is none.
 */
export class HeadStart {
  readonly #parts: HeadStartParts
  #timer: Timer | undefined
  #begun: { readonly proved: Promise<void>; readonly warmed: Promise<unknown> } | undefined

  constructor(parts: HeadStartParts) {
    this.#parts = parts
  }

  /** Begins, now or after a moment. */
  start(): void {
    const { isPatient, clock } = this.#parts
    if (!isPatient) return void this.#begin()
    this.#timer = clock.after(PATIENCE_MS, () => this.#begin())
    this.#timer.unref?.()
  }

  get hasBegun(): boolean {
    return this.#begun !== undefined
  }

  /** Begins; resolves when the walls are proved. */
  proved(): Promise<void> {
    return this.#begin().proved
  }

  /** Begins; resolves when the analysis process is ready, or could not be started. */
  warmed(): Promise<unknown> {
    return this.#begin().warmed
  }

  /** Leaves the beginning to the next call that needs it. */
  hold(): void {
    this.#timer?.cancel()
  }

  /** Resolves when no proof is under way. */
  async close(): Promise<void> {
    this.hold()
    await this.#begun?.proved.catch(() => undefined)
  }

  #begin() {
    this.hold()
    const { prove, warm } = this.#parts
    return (this.#begun ??= { proved: prove(), warmed: warm().catch(() => undefined) })
  }
}

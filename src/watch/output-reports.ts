import type { Clock, Timer } from '../contract/clock.ts'
import type { Emitter } from '../contract/event.ts'

/** Minimum interval between two output reports of a run: rate limit for guests that print single characters. */
export const outputReportMs = 50

export interface OutputReportParts {
  readonly emitter: Emitter
  readonly clock: Clock
}

/** Emits `seen/output` for a run: at its first chunk, then the bytes since the last report. */
export class OutputReports {
  readonly #parts: OutputReportParts
  readonly #run: string
  #bytes = 0
  #entropy: number | undefined
  #timer: Timer | undefined

  constructor(parts: OutputReportParts, run: string) {
    this.#parts = parts
    this.#run = run
  }

  /** `entropy` in bits per byte; a report has the maximum of its chunks. */
  note(bytes: number, entropy: number | undefined): void {
    this.#bytes += bytes
    if (entropy !== undefined) this.#entropy = Math.max(entropy, this.#entropy ?? 0)
    if (!this.#timer) this.#report()
  }

  /** Reports bytes not reported yet. */
  close(): void {
    if (this.#bytes > 0) this.#report()
    this.#timer?.cancel()
  }

  #report(): void {
    const { emitter, clock } = this.#parts
    const [bytes, entropy] = [this.#bytes, this.#entropy]
    this.#bytes = 0
    this.#entropy = undefined
    this.#timer?.cancel()
    this.#timer = clock.after(outputReportMs, () => {
      this.#timer = undefined
      if (this.#bytes > 0) this.#report()
    })
    this.#timer.unref?.()
    const fields = { bytes, ...(entropy !== undefined && { entropy }) }
    emitter.emit('seen/output', fields, { run: this.#run, actor: watchActor })
  }
}

/** Actor of observations made by the watcher itself, which has already counted them. */
export const watchActor = 'watch'

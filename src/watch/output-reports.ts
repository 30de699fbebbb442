import type { Clock, Timer } from '../contract/clock.ts'
import type { Emitter } from '../contract/event.ts'

/** Shortest time between two reports of the output of a run: a guest that prints single characters causes no flood. */
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

  /** `entropy` in bits a byte; of a report, the highest of its chunks. */
  note(bytes: number, entropy: number | undefined): void {
    this.#bytes += bytes
    if (entropy !== undefined) this.#entropy = Math.max(entropy, this.#entropy ?? 0)
    if (!this.#timer) this.#report()
  }

  /** Reports the rest. */
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

/** Actor of observations that the watcher itself made: it has counted them already. */
export const watchActor = 'watch'

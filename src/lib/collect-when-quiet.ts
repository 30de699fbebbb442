import { attempt } from './attempt.ts'
import { collectGarbage } from './collect-garbage.ts'

export interface QuietParts {
  /** Counter of the work of this process; only changes matter. */
  readonly doings: () => number
  /** False while work is in progress that is not yet counted. */
  readonly isIdle: () => boolean
  readonly collect?: () => void
}

export const checkEveryMs = 4_000
/** Consecutive polls without work before the first collection after the start, and before later ones. */
const quietChecks = { first: 1, later: 15 } as const

/**
 * Collects garbage once in each idle period: soon after the start, whose modules and walls leave the most garbage, and
 * then a minute after the last work, so that a pause between two requests does not delay the second one.
 */
export class QuietCollector {
  readonly #parts: QuietParts
  readonly #timer: NodeJS.Timeout
  #checksWanted: number = quietChecks.first
  #seen: number
  #quiet = 0
  #isDue = true

  constructor(parts: QuietParts) {
    this.#parts = parts
    this.#seen = parts.doings()
    this.#timer = setInterval(() => this.check(), checkEveryMs)
    this.#timer.unref()
  }

  check(): void {
    const { doings, isIdle, collect = collectGarbage } = this.#parts
    const now = doings()
    const isQuiet = now === this.#seen && isIdle()
    this.#seen = now
    this.#quiet = isQuiet ? this.#quiet + 1 : 0
    this.#isDue ||= !isQuiet
    if (!this.#isDue || this.#quiet < this.#checksWanted) return
    this.#isDue = false
    this.#checksWanted = quietChecks.later
    // An error in a timer would end the process.
    attempt(collect)
  }

  close(): void {
    clearInterval(this.#timer)
  }
}

import type { SentryControl } from './control.ts'
import { memoryOf } from './measure.ts'
import type { RunscWall } from './wall.ts'

/**
 * Memory of a job without its scratch folders: both are bytes of one memfd, and only the sentry can distinguish them.
 * The sentry is asked only once the sum exceeds the memory bound, because its count takes 3 to 40 ms; until it answers,
 * the sum of both bounds is enforced. A compromised sentry gains no more than that sum, which was granted. If it does
 * not answer, all bytes count as memory.
 */
export class JobMemory {
  readonly #wall: RunscWall
  #scratch = 0
  #isAsking = false
  #isOver = false

  constructor(wall: RunscWall) {
    this.#wall = wall
  }

  /**
   * Bytes that count against `usedMax`; above it only if the job exceeds its bound. Throws if the wall cannot be
   * measured.
   */
  look(usedMax: number): number {
    const { resources, sentry, disk } = this.#wall
    const all = memoryOf(resources, sentry)
    const bytes = all - this.#scratch
    if (bytes <= usedMax || this.#isOver || all > usedMax + disk) return bytes
    this.#ask(resources.control, all, usedMax)
    return usedMax
  }

  #ask(control: SentryControl, all: number, usedMax: number): void {
    if (this.#isAsking) return
    this.#isAsking = true
    void this.#count(control, all, usedMax).finally(() => void (this.#isAsking = false))
  }

  async #count(control: SentryControl, all: number, usedMax: number): Promise<void> {
    try {
      const bytes = await control.scratchBytes()
      this.#scratch = Math.min(Math.max(bytes, 0), this.#wall.disk)
      this.#isOver = all - this.#scratch > usedMax
    } catch {
      this.#isOver = true
    }
  }
}

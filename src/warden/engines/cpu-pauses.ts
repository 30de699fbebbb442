import { createCpuThrottle, type CpuThrottle } from './cpu-throttle.ts'

/**
 * CPU limit of a wall without a CFS quota: pauses the wall while its token bucket is overdrawn. Pauses nest with those
 * of `freeze`: a frozen wall stays frozen. The wall's usage is the sum over all its processes and costs up to 2 ms to
 * read, so it is sampled every 50 ms.
 */
const CHECK_MS = 50

export interface Pausable {
  pause(): Promise<unknown>
  resume(): Promise<unknown>
}

export class CpuPauses {
  readonly #control: Pausable
  readonly #spentMs: () => number
  #throttle: CpuThrottle | undefined
  #cores = Infinity
  #checkedAt = -Infinity
  #isPaused = false
  #isAsking = false

  constructor(control: Pausable, spentMs: () => number) {
    this.#control = control
    this.#spentMs = spentMs
  }

  /** Pauses or resumes the wall, once the last request was answered. */
  check(cores: number, nowMs: number): void {
    if (nowMs - this.#checkedAt < CHECK_MS || this.#isAsking) return
    this.#checkedAt = nowMs
    const used = this.#spentMs()
    if (cores !== this.#cores || !this.#throttle)
      this.#throttle = createCpuThrottle(cores, nowMs, used)
    this.#cores = cores
    const pauses = !this.#throttle.check(nowMs, used)
    if (pauses !== this.#isPaused) void this.#ask(pauses)
  }

  /** Ignores a wall that does not answer: it ends by other means, or answers the next time. */
  async #ask(pauses: boolean): Promise<void> {
    this.#isAsking = true
    try {
      await (pauses ? this.#control.pause() : this.#control.resume())
      this.#isPaused = pauses
    } catch {
      // Retried at a later sample. A machine undoes a late pause before it rejects, and a sentry once it has confirmed it.
    } finally {
      this.#isAsking = false
    }
  }
}

import { createCpuThrottle, type CpuThrottle } from '../cpu-throttle.ts'
import type { SentryControl } from './control.ts'

/**
 * CPU limit of a wall without a CFS quota: the sentry pauses its program while the wall has overdrawn its time. Pauses of a
 * sentry nest, so those of `freeze` are others. The wall's usage is the sum over all its processes and costs 2 ms to read:
 * it is looked at each 50 ms.
 */
const LOOK_MS = 50

export class CpuPauses {
  readonly #control: Pick<SentryControl, 'pause' | 'resume'>
  readonly #spentMs: () => number
  #throttle: CpuThrottle | undefined
  #cores = Infinity
  #lookedAt = -Infinity
  #isPaused = false
  #isAsking = false

  constructor(control: Pick<SentryControl, 'pause' | 'resume'>, spentMs: () => number) {
    this.#control = control
    this.#spentMs = spentMs
  }

  /** Pauses or resumes the program, once the last request was answered. */
  look(cores: number, nowMs: number): void {
    if (nowMs - this.#lookedAt < LOOK_MS || this.#isAsking) return
    this.#lookedAt = nowMs
    const used = this.#spentMs()
    if (cores !== this.#cores || !this.#throttle)
      this.#throttle = createCpuThrottle(cores, nowMs, used)
    this.#cores = cores
    const pauses = !this.#throttle.look(nowMs, used)
    if (pauses !== this.#isPaused) void this.#ask(pauses)
  }

  /** Ignores a sentry that does not answer: the task watch ends its wall. */
  async #ask(pauses: boolean): Promise<void> {
    this.#isAsking = true
    try {
      await (pauses ? this.#control.pause() : this.#control.resume())
      this.#isPaused = pauses
    } catch {
      // Retried at the next sample.
    } finally {
      this.#isAsking = false
    }
  }
}

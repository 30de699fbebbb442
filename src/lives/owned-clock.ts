import type { Clock, Timer } from '../contract/clock.ts'

/** Clock that cancels its timers when disposed: no callback afterwards, and no timer keeps the process alive. */
export class OwnedClock implements Clock, Disposable {
  readonly #clock: Clock
  readonly #timers = new Set<Timer>()
  #isOver = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now()
  }

  date(): number {
    return this.#clock.date()
  }

  after(ms: number, then: () => void): Timer {
    if (this.#isOver) return { cancel() {} }
    const timer = this.#clock.after(ms, () => {
      this.#timers.delete(timer)
      then()
    })
    this.#timers.add(timer)
    return { cancel: () => void (this.#timers.delete(timer) && timer.cancel()) }
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
  }
}

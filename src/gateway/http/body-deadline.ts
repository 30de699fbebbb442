/** Slowest lasting rate of a body, in bytes a millisecond: a phone on a bad line sends 5. */
const BYTES_EACH_MS = 2

/** Time of the slowest body that is read. */
export function longestBodyMs(bodyMs: number, bytes: number): number {
  return bodyMs + bytes / BYTES_EACH_MS
}

/**
 * Deadline of one body, as a token bucket of time: a sender may fall behind the slowest rate by `bodyMs`, and never more,
 * so that one which sends fast and then stalls has no credit. Dispose when the body is there.
 */
export class BodyDeadline implements Disposable {
  readonly #bodyMs: number
  #at: number
  #timer: NodeJS.Timeout

  constructor(bodyMs: number, late: () => void) {
    this.#bodyMs = bodyMs
    this.#at = performance.now() + bodyMs
    const due = (): void => {
      const left = this.#at - performance.now()
      if (left > 0) this.#timer = setTimeout(due, left)
      else late()
    }
    this.#timer = setTimeout(due, bodyMs)
  }

  received(bytes: number): void {
    this.#at = Math.min(this.#at + bytes / BYTES_EACH_MS, performance.now() + this.#bodyMs)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }
}

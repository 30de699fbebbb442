/** Token bucket of the event loop: burst in milliseconds, and refill for each millisecond. */
const BURST_MS = 100
const SHARE = 0.1
/** Milliseconds of a request that cost no tokens: small requests share the loop fairly already. */
const FREE_MS = 1

/**
 * Rate limit of one guest's use of the server's event loop: while a long request is parsed no other guest is served, so a
 * guest that took the loop for long waits until it is within a tenth of the time. Pure but for the clock it is given.
 */
export class LoopShare {
  readonly #now: () => number
  #left = BURST_MS
  #last: number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
    this.#last = now()
  }

  /** Counts what one request took; the milliseconds to wait before the next is read, 0 while it is within its share. */
  wait(tookMs: number): number {
    const now = this.#now()
    this.#left = Math.min(BURST_MS, this.#left + (now - this.#last) * SHARE)
    this.#last = now
    this.#left -= Math.max(0, tookMs - FREE_MS)
    return this.#left >= 0 ? 0 : -this.#left / SHARE
  }
}

/** Of the server's loop, in milliseconds, before a run has to wait, and for each millisecond after that. */
const BURST_MS = 100
const SHARE = 0.1
/** What anybody may take at once: whoever asks often and little is one among others already. */
const FREE_MS = 1

/**
 * How long whoever made the server work has to wait until it is heard again. One server reads what all guests ask, and
 * while it reads a long text of one nobody else's moment comes; so what takes it long is paid back, a tenth of the time
 * at most. Pure but for the clock it is given; milliseconds.
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

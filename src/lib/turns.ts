import { setTimeout as sleep } from 'node:timers/promises'

/** Of the server's time, in milliseconds, that may be taken at once. */
const burstMs = 50
/** And after that, of each millisecond. */
const share = 0.1
/** What anybody may take at once: whoever asks often and little is one among others already. */
const freeMs = 1

export interface TurnParts {
  /** Milliseconds. */
  readonly now: () => number
  readonly wait: (ms: number) => Promise<void>
  /** What work that took so long counts. */
  readonly counted: (tookMs: number) => number
}

const real: TurnParts = {
  now: () => performance.now(),
  wait: (ms) => sleep(ms, undefined, { ref: false }),
  counted: (tookMs) => Math.max(0, tookMs - freeMs),
}

/**
 * Whose turn it is to have the server work for it, on the one thread that serves everybody: TLS that is looked into is
 * spoken there, and what a tenant sends is read there. All such work of one goes one after the other, and waits while
 * that one has had its share. None is refused: whoever asks for little never waits.
 */
export class Turns {
  readonly #parts: TurnParts
  #left = burstMs
  #last: number
  #behind: Promise<void> = Promise.resolve()

  constructor(parts: Partial<TurnParts> = {}) {
    this.#parts = { ...real, ...parts }
    this.#last = this.#parts.now()
  }

  /**
   * Does it when its turn has come, and counts what it took, with what it left to be done before anything else is. What
   * nobody wants any more by then is not done and not counted: undefined.
   */
  async take<T>(work: () => T, isWanted: () => boolean): Promise<T | undefined> {
    const before = this.#behind
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#behind = promise
    try {
      await before
      if (isWanted()) await this.#share()
      if (!isWanted()) return undefined
      const began = this.#parts.now()
      try {
        return work()
      } finally {
        await ticked()
        this.#left -= this.#parts.counted(this.#parts.now() - began)
      }
    } finally {
      resolve()
    }
  }

  /** Waits until what was taken too much is paid back. */
  async #share(): Promise<void> {
    for (this.#refill(); this.#left <= 0; this.#refill())
      await this.#parts.wait(Math.max(1, -this.#left / share))
  }

  #refill(): void {
    const now = this.#parts.now()
    this.#left = Math.min(burstMs, this.#left + (now - this.#last) * share)
    this.#last = now
  }
}

/** After all that is to be done in this turn of the loop: Node hands a new TLS what came before it in such a tick. */
function ticked(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}

import { setTimeout as sleep } from 'node:timers/promises'
import { RateBucket } from './rate-bucket.ts'

/** Burst: server time that may be taken at once, in milliseconds. */
const burstMs = 50
/** Sustained share of each millisecond. */
const share = 0.1
/** Milliseconds exempt from the limit each time, so that small, frequent work never waits. */
const freeMs = 1

export interface LoopLimiterParts {
  /** Milliseconds. */
  readonly now: () => number
  readonly wait: (ms: number) => Promise<void>
  /** Cost charged for work of that duration. */
  readonly counted: (tookMs: number) => number
}

const real: LoopLimiterParts = {
  now: () => performance.now(),
  wait: (ms) => sleep(ms, undefined, { ref: false }),
  counted: (tookMs) => Math.max(0, tookMs - freeMs),
}

/**
 * Rate limit (token bucket) on event-loop time, one instance a tenant or run, for work on the server's single
 * thread: intercepted TLS and request bodies. Work of one instance is serialised, and delayed while its bucket
 * is empty. Never refuses; small work never waits.
 */
export class LoopLimiter {
  readonly #parts: LoopLimiterParts
  readonly #bucket: RateBucket
  #behind: Promise<void> = Promise.resolve()

  constructor(parts: Partial<LoopLimiterParts> = {}) {
    this.#parts = { ...real, ...parts }
    const { now } = this.#parts
    this.#bucket = new RateBucket({ burst: burstMs, eachMs: share, now })
  }

  /**
   * Runs the work in its turn, and charges its duration, including the ticks it queued. Returns undefined,
   * uncharged, if it is no longer wanted by then.
   */
  async run<T>(work: () => T, isWanted: () => boolean): Promise<T | undefined> {
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
        this.#bucket.spend(this.#parts.counted(this.#parts.now() - began))
      }
    } finally {
      resolve()
    }
  }

  /** Waits until the overdraft is refilled. */
  async #share(): Promise<void> {
    while (this.#bucket.left <= 0) await this.#parts.wait(Math.max(1, this.#bucket.overdrawnMs))
  }
}

/** Resolves after the pending ticks: Node passes a new TLS socket its early data in such a tick. */
function ticked(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}

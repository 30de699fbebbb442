import { RateBucket } from '../lib/rate-bucket.ts'

/** Token bucket of the event loop: burst in milliseconds, and refill for each millisecond. */
const BURST_MS = 100
const SHARE = 0.1
/** Milliseconds of each request without a charge: small requests share the loop fairly already. */
const FREE_MS = 1

/**
 * Rate limit of one guest's use of the server's event loop. While a long request is parsed no other guest is served, so a
 * guest over its share waits until it is back at a tenth of the time. Pure, except for the injected clock.
 */
export class LoopShare {
  readonly #bucket: RateBucket

  constructor(now?: () => number) {
    this.#bucket = new RateBucket({ burst: BURST_MS, eachMs: SHARE, ...(now && { now }) })
  }

  /** Charges one request; returns the milliseconds to wait before the next one is read, 0 within the share. */
  wait(tookMs: number): number {
    this.#bucket.spend(Math.max(0, tookMs - FREE_MS))
    return this.#bucket.overdrawnMs
  }
}

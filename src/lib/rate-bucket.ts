export interface RateBucketParts {
  /** Size, to which it is full at first. */
  readonly burst: number
  /** Tokens added each millisecond. */
  readonly eachMs: number
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

/** Token bucket, for rate limits. A caller that charges after its work may overdraw it. */
export class RateBucket {
  readonly #burst: number
  readonly #eachMs: number
  readonly #now: () => number
  #left: number
  #at: number

  constructor({ burst, eachMs, now = () => performance.now() }: RateBucketParts) {
    this.#burst = this.#left = burst
    this.#eachMs = eachMs
    this.#now = now
    this.#at = now()
  }

  /** Tokens in it now; negative while it is overdrawn. */
  get left(): number {
    const now = this.#now()
    this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#eachMs)
    this.#at = now
    return this.#left
  }

  /** Milliseconds until it is no longer overdrawn. */
  get overdrawnMs(): number {
    return Math.max(0, -this.left / this.#eachMs)
  }

  spend(tokens: number): void {
    this.#left = this.left - tokens
  }

  /** Takes one token. False if there is none. */
  take(): boolean {
    if (this.left < 1) return false
    this.#left -= 1
    return true
  }
}

import type { Clock } from '../../contract/clock.ts'

/** Maximum of buckets; the least recently used is evicted and restarts full. */
const BUCKETS_MAX = 10_000

interface Bucket {
  tokens: number
  at: number
}

/** Rate limit by token buckets with names: one minute's worth as burst, refilled evenly. */
export class RateLimit {
  readonly #given: () => number
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  /** Tokens per minute; a function is called each time, for limits that can change. */
  constructor(perMinute: number | (() => number), clock: Clock) {
    this.#given = typeof perMinute === 'number' ? () => perMinute : perMinute
    this.#clock = clock
  }

  /** Takes a token. Returns 0, or the milliseconds until one is available. */
  take(name: string): number {
    const bucket = this.#fresh(name)
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) * 60_000) / this.#perMinute)
    bucket.tokens -= 1
    return 0
  }

  get #perMinute(): number {
    return this.#given()
  }

  get size(): number {
    return this.#buckets.size
  }

  #fresh(name: string): Bucket {
    const now = this.#clock.now()
    const bucket = this.#buckets.get(name) ?? { tokens: this.#perMinute, at: now }
    const gained = ((now - bucket.at) * this.#perMinute) / 60_000
    bucket.tokens = Math.min(this.#perMinute, bucket.tokens + gained)
    bucket.at = now
    this.#buckets.delete(name)
    this.#buckets.set(name, bucket)
    if (this.#buckets.size > BUCKETS_MAX) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket
  }
}

/** Rate limit key of an address: one IPv4 address, or the /64 of IPv6 that one household or host gets. */
export function addressGroup(address: string | undefined): string {
  if (address === undefined) return 'unknown'
  const v4 = address.replace(/^::ffff:/, '')
  if (!v4.includes(':')) return v4
  const [head = '', tail = ''] = v4.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const zeros = v4.includes('::')
    ? Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
    : []
  return [...left, ...zeros, ...right].slice(0, 4).join(':')
}

import type { Clock } from '../../contract/clock.ts'

/** Buckets remembered; the one unused for longest is forgotten first, and is then full again. */
const BUCKETS_MAX = 10_000

interface Bucket {
  tokens: number
  at: number
}

/** Token buckets by name: a minute's worth at once, then at an even pace. */
export class RateLimit {
  readonly #given: () => number
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  /** How many a minute; asked each time where it can change. */
  constructor(perMinute: number | (() => number), clock: Clock) {
    this.#given = typeof perMinute === 'number' ? () => perMinute : perMinute
    this.#clock = clock
  }

  /** Takes one. Returns 0, or the milliseconds after which one will be there. */
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

/** Who an address stands for: one of IPv4, or the 64 bits of IPv6 that one household or host owns. */
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

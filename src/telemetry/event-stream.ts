import type { Clock } from '../contract/clock.ts'
import type { Event, Sink, Emitter } from '../contract/event.ts'
import { RateBucket, type RateBucketParts } from '../lib/rate-bucket.ts'

export interface EventStreamOptions {
  readonly clock: Clock
  /** Read at every event, so that sinks can be added later. */
  readonly sinks: readonly Sink[]
  /** Events a second that a guest may emit per run and point; the burst is twice that. */
  readonly limit?: number
}

/**
 * Event stream of a process: rooms emit, sinks receive. A sink that throws loses that event, and is retired after
 * `failuresMax` consecutive errors.
 */
export class EventStream implements Emitter {
  /** Re-emits an event that a wall reported, with this process's sequence number. */
  readonly sink: Sink = ({ point, fields, run, zone, actor, trust, at }) =>
    this.#emit({ point, fields, run, zone, actor, trust, at })
  readonly #clock: Clock
  readonly #rate: RateBucketParts
  readonly #sinks: readonly Sink[]
  readonly #listeners = new Set<Sink>()
  /** Consecutive errors by sink; a sink without one has no entry. */
  readonly #failures = new Map<Sink, number>()
  readonly #buckets = new Map<string, Bucket>()
  #seq = 0
  #suppressed = 0
  #failed = 0
  #retired = 0

  constructor({ clock, sinks, limit = guestEventsPerSecond }: EventStreamOptions) {
    this.#clock = clock
    this.#rate = { burst: 2 * limit, eachMs: limit / 1000, now: () => clock.now() }
    this.#sinks = sinks
  }

  emit: Emitter['emit'] = (point, fields = {}, more = {}) => {
    const { run = null, zone = 'main', trust = 'host' } = more
    const actor = more.actor ?? point.slice(0, point.indexOf('/'))
    this.#emit({ point, fields, run, zone, actor, trust, at: this.#clock.date() })
  }

  /** Subscribes a sink, such as a live view; returns the unsubscribe function. */
  listen(sink: Sink): () => void {
    // A new function for each subscription, so that subscribing the same sink twice gives two listeners.
    const own: Sink = (event) => sink(event)
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
      this.#failures.delete(own)
    }
  }

  stats(): EventStreamStats {
    const [suppressed, failed] = [this.#suppressed, this.#failed]
    return { emitted: this.#seq, suppressed, failed, retired: this.#retired }
  }

  #emit(parts: Omit<Event, 'format' | 'seq'>): void {
    // A bucket for each run and point: a flood at one point suppresses no events of another.
    const bucket =
      parts.trust === 'guest' ? this.#bucketOf(`${parts.run ?? ''} ${parts.point}`) : undefined
    if (bucket && !bucket.rate.take()) {
      bucket.suppressed += 1
      this.#suppressed += 1
      return
    }
    const fields = bucket?.suppressed
      ? { ...parts.fields, suppressed: bucket.suppressed }
      : parts.fields
    if (bucket) bucket.suppressed = 0
    const event: Event = { format: 1, seq: ++this.#seq, ...parts, fields }
    for (const sink of this.#sinks) this.#deliver(sink, event)
    for (const sink of this.#listeners) this.#deliver(sink, event)
  }

  #deliver(sink: Sink, event: Event): void {
    const failures = this.#failures.size === 0 ? 0 : (this.#failures.get(sink) ?? 0)
    if (failures >= failuresMax) return
    try {
      sink(event)
      if (failures > 0) this.#failures.delete(sink)
    } catch {
      this.#failed += 1
      this.#failures.set(sink, failures + 1)
      if (failures + 1 === failuresMax) this.#retired += 1
    }
  }

  /** Bucket of a run and point; the least recently used is evicted. */
  #bucketOf(name: string): Bucket {
    const bucket = this.#buckets.get(name) ?? { rate: new RateBucket(this.#rate), suppressed: 0 }
    this.#buckets.delete(name)
    this.#buckets.set(name, bucket)
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > bucketsMax && oldest !== undefined) this.#buckets.delete(oldest)
    return bucket
  }
}

export interface EventStreamStats {
  readonly emitted: number
  /** Guest events dropped by the rate limit. */
  readonly suppressed: number
  /** Events at which a sink threw, and sinks retired after `failuresMax` consecutive errors. */
  readonly failed: number
  readonly retired: number
}

const guestEventsPerSecond = 50
const bucketsMax = 4096
const failuresMax = 100

/** Rate of a run and point, with the number of events suppressed since the last that passed. */
interface Bucket {
  readonly rate: RateBucket
  suppressed: number
}

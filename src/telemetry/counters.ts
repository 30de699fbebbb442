import type { Event, Point, Sink } from '../contract/event.ts'

/** Counts since process start. */
export interface EventCounts {
  readonly jobs: number
  /** Jobs between their admitted line and their end. */
  readonly running: number
  readonly byStatus: Readonly<Record<string, number>>
  readonly byTier: Readonly<Record<string, number>>
  readonly byPoint: Readonly<Partial<Record<Point, number>>>
  readonly byTrust: Readonly<Record<Event['trust'], number>>
}

export interface Counters {
  readonly sink: Sink
  read(): EventCounts
}

/** Distinct labels per table; further ones count as `other`. */
const wordsMax = 64
const wordCharsMax = 64

/** Statistics of the event stream; `job/ended` carries `status` and `tier`. */
export function createCounters(): Counters {
  const byPoint = new Tally()
  const byTrust = new Tally()
  const byStatus = new Tally()
  const byTier = new Tally()
  return {
    sink: ({ point, trust, fields }) => {
      byPoint.add(point)
      if (trust === 'guest' || trust === 'wall') return byTrust.add(trust)
      byTrust.add('host')
      if (point !== 'job/ended') return
      byStatus.add(wordOf(fields['status']))
      byTier.add(wordOf(fields['tier']))
    },
    read: () => {
      const points = byPoint.read() as Partial<Record<Point, number>>
      const jobs = points['job/admitted'] ?? 0
      return {
        jobs,
        running: jobs - (points['job/ended'] ?? 0),
        byStatus: byStatus.read(),
        byTier: byTier.read(),
        byPoint: points,
        byTrust: { host: 0, wall: 0, guest: 0, ...byTrust.read() },
      }
    },
  }
}

/** Label of a field's value; "none" for a field that is not text. */
export function wordOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, wordCharsMax) : 'none'
}

class Tally {
  readonly #counts = new Map<string, number>()

  add(word: string): void {
    const key = this.#counts.has(word) || this.#counts.size < wordsMax ? word : 'other'
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  read(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}

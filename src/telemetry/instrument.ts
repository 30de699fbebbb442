/** Measurement in OpenTelemetry terms, written by `prometheus.ts` and `otlp/`. */
export interface Reading {
  /** Dotted, as `http.server.request.duration`. */
  readonly name: string
  readonly description: string
  /** UCUM: `s`, `By`, or a counted thing in braces. */
  readonly unit: string
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly series: readonly Series[]
}

export type Labels = Readonly<Record<string, string | number>>

export interface Series {
  readonly labels: Labels
  /** Value of a counter or gauge. */
  readonly value?: number
  readonly histogram?: HistogramValue
}

export interface HistogramValue {
  readonly count: number
  readonly sum: number
  /** Ascending upper bounds; `counts` has one more entry, for +Inf. */
  readonly bounds: readonly number[]
  readonly counts: readonly number[]
}

/** Series per instrument; further label values count as `other`. */
export const seriesMax = 256

type Named = Pick<Reading, 'name' | 'description' | 'unit'>

export class Counter {
  readonly #about: Named
  readonly #series = new SeriesTable<{ value: number }>(() => ({ value: 0 }))

  constructor(about: Named) {
    this.#about = about
  }

  add(labels: Labels = {}, by = 1): void {
    this.#series.of(labels).value += by
  }

  read(): Reading {
    const series = this.#series.all().map(([labels, { value }]) => ({ labels, value }))
    return { ...this.#about, kind: 'counter', series }
  }
}

interface Buckets {
  count: number
  sum: number
  readonly counts: number[]
}

export class Histogram {
  readonly #about: Named
  readonly #bounds: readonly number[]
  readonly #series: SeriesTable<Buckets>

  constructor(about: Named, bounds: readonly number[]) {
    this.#about = about
    this.#bounds = bounds
    this.#series = new SeriesTable(() => ({
      count: 0,
      sum: 0,
      counts: Array.from({ length: bounds.length + 1 }, () => 0),
    }))
  }

  /** Ignores values that are not finite and non-negative. */
  record(value: unknown, labels: Labels = {}): void {
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) return
    const buckets = this.#series.of(labels)
    const at = this.#bounds.findIndex((bound) => value <= bound)
    buckets.counts[at === -1 ? this.#bounds.length : at]! += 1
    buckets.count += 1
    buckets.sum += value
  }

  read(): Reading {
    const bounds = this.#bounds
    const series = this.#series.all().map(([labels, { count, sum, counts }]) => ({
      labels,
      histogram: { count, sum, bounds, counts: [...counts] },
    }))
    return { ...this.#about, kind: 'histogram', series }
  }
}

/** Values by labels: at most `seriesMax`, plus one for the rest. */
class SeriesTable<T> {
  readonly #known = new Map<string, readonly [Labels, T]>()
  readonly #make: () => T

  constructor(make: () => T) {
    this.#make = make
  }

  of(labels: Labels): T {
    const found = this.#known.get(keyOf(labels))
    if (found) return found[1]
    if (this.#known.size < seriesMax) return this.#add(labels)
    const rest = Object.fromEntries(Object.keys(labels).map((name) => [name, 'other']))
    return this.#known.get(keyOf(rest))?.[1] ?? this.#add(rest)
  }

  all(): readonly (readonly [Labels, T])[] {
    return [...this.#known.values()]
  }

  #add(labels: Labels): T {
    const made = this.#make()
    this.#known.set(keyOf(labels), [labels, made])
    return made
  }
}

function keyOf(labels: Labels): string {
  return Object.values(labels).join('\0')
}

import type { Event, Point, Sink } from '../contract/event.ts'
import { wordOf } from './counters.ts'
import { Counter, Histogram, type Reading } from './instrument.ts'

export type Observer = () => readonly Reading[] | Promise<readonly Reading[]>

/** Seconds; the lowest buckets fit a job in an isolate. */
const durations = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
]
/** Buckets recommended by the semantic conventions. */
const requestDurations = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const runningMax = 65_536

type Listener = (fields: Event['fields'], run: string | null) => void

/**
 * Metrics from the event stream and from observers called at read time. Fields of events that a guest or a wall claims are
 * ignored: only their number counts.
 */
export class Meters {
  readonly #observers: Observer[] = []
  readonly #instruments: (Counter | Histogram)[] = []
  readonly #events = this.#counter(
    'mayfly.events',
    'Events by point and by the trust of their source',
    '{event}',
  )
  readonly #admitted = this.#counter('mayfly.admissions', 'Jobs admitted', '{execution}')
  readonly #executions = this.#counter(
    'mayfly.executions',
    'Jobs ended, by status and tier',
    '{execution}',
  )
  readonly #unrecorded = this.#counter(
    'mayfly.executions.unrecorded',
    'Jobs without an outcome, because the record could not be written',
    '{execution}',
  )
  readonly #executing = this.#seconds('mayfly.execution.duration', 'From admission to outcome')
  readonly #user = this.#seconds('mayfly.execution.user.duration', 'User code alone')
  readonly #waiting = this.#seconds('mayfly.queue.duration', 'Wait for admission')
  readonly #analyses = this.#counter(
    'mayfly.analyses',
    'Verdicts, by cache hit or miss',
    '{analysis}',
  )
  readonly #recalls = this.#counter(
    'mayfly.cache.lookups',
    'Lookups of idempotent jobs in the result cache, by hit or miss',
    '{execution}',
  )
  readonly #saved = this.#counter(
    'mayfly.cache.saved',
    'Bytes of results, output and artifacts that were answered from the result cache',
    'By',
  )
  readonly #findings = this.#counter(
    'mayfly.findings',
    'Verdicts in which a pattern was found',
    '{finding}',
  )
  readonly #registrations = this.#counter(
    'mayfly.registrations',
    'Effects registered and refused',
    '{effect}',
  )
  readonly #refused = this.#counter(
    'mayfly.door.refusals',
    'Requests refused, by code',
    '{request}',
  )
  readonly #requests = this.#seconds(
    'http.server.request.duration',
    'Duration of HTTP server requests',
    requestDurations,
  )
  readonly #running = new Set<string | null>()
  #unsigned = 0

  readonly sink: Sink = (event) => {
    this.#events.add({ point: event.point, trust: event.trust })
    if (event.trust === 'host') this.#listeners[event.point]?.(event.fields, event.run)
  }

  /** Adds an observer called at each read; if it throws, its readings are omitted. */
  observe(observer: Observer): void {
    this.#observers.push(observer)
  }

  async read(): Promise<readonly Reading[]> {
    const observed = await Promise.all(
      this.#observers.map((observer) => Promise.try(observer).catch(() => [] as const)),
    )
    return [
      ...this.#instruments.map((one) => one.read()),
      gauge(
        'mayfly.executions.running',
        'Jobs between admission and end',
        '{execution}',
        this.#running.size,
      ),
      gauge(
        'mayfly.record.unsigned',
        'Lines of the record that are not signed yet',
        '{line}',
        this.#unsigned,
      ),
      ...observed.flat(),
    ]
  }

  #counter(name: string, description: string, unit: string): Counter {
    const counter = new Counter({ name, description, unit })
    this.#instruments.push(counter)
    return counter
  }

  #seconds(name: string, description: string, buckets = durations): Histogram {
    const histogram = new Histogram({ name, description, unit: 's' }, buckets)
    this.#instruments.push(histogram)
    return histogram
  }

  readonly #listeners: Readonly<Partial<Record<Point, Listener>>> = {
    'job/admitted': (_, run) => {
      if (this.#running.size < runningMax) this.#running.add(run)
      this.#admitted.add()
    },
    'job/ended': (fields, run) => {
      this.#running.delete(run)
      const labels = { status: wordOf(fields['status']), tier: wordOf(fields['tier']) }
      this.#executions.add(labels)
      this.#executing.record(secondsOf(fields['took']), labels)
      if (labels.tier === 'none') return
      this.#user.record(secondsOf(fields['executionTime']), { tier: labels.tier })
      this.#waiting.record(secondsOf(fields['queueTime']))
    },
    'job/unrecorded': (_, run) => {
      this.#running.delete(run)
      this.#unrecorded.add()
    },
    'threat/analysed': (fields) => {
      this.#analyses.add({ cache: fields['cached'] === true ? 'hit' : 'miss' })
      const names = Array.isArray(fields['patterns']) ? fields['patterns'] : []
      for (const pattern of new Set(names)) this.#findings.add({ pattern: wordOf(pattern) })
    },
    'cache/hit': ({ bytes }) => {
      this.#recalls.add({ result: 'hit' })
      if (typeof bytes === 'number') this.#saved.add({}, bytes)
    },
    'cache/miss': () => this.#recalls.add({ result: 'miss' }),
    'effect/registered': () => this.#registrations.add({ result: 'registered' }),
    'effect/refused': () => this.#registrations.add({ result: 'refused' }),
    'door/refused': (fields) => {
      this.#refused.add({ code: wordOf(fields['code']) })
      const { unspoken } = fields
      if (typeof unspoken === 'number') this.#refused.add({ code: 'unspoken' }, unspoken)
    },
    'door/answered': (fields) => {
      this.#requests.record(secondsOf(fields['took']), {
        'http.request.method': wordOf(fields['method']),
        'url.scheme': wordOf(fields['scheme']),
        'http.route': wordOf(fields['route']),
        'http.response.status_code': Number(fields['status']),
      })
    },
    'record/unsigned': ({ lines }) => {
      this.#unsigned = typeof lines === 'number' ? lines : 0
    },
    'record/checkpoint': () => {
      this.#unsigned = 0
    },
  }
}

/** Gauge: one current value without labels, or a value for each set of labels. */
export function gauge(
  name: string,
  description: string,
  unit: string,
  values: number | readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[],
): Reading {
  const all = typeof values === 'number' ? [[{}, values] as const] : values
  const series = all.map(([labels, value]) => ({ labels, value }))
  return { name, description, unit, kind: 'gauge', series }
}

function secondsOf(ms: unknown): number | undefined {
  return typeof ms === 'number' ? ms / 1000 : undefined
}

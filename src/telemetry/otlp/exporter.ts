import type { Sink } from '../../contract/event.ts'
import type { Reading } from '../instrument.ts'
import { gauge, type Meters } from '../meters.ts'
import { metricsBody, traceBody } from './encode.ts'
import { sendToCollector } from './send.ts'
import type { OtlpSettings } from './settings.ts'
import type { Span } from './span.ts'
import { Spans } from './spans.ts'

/**
 * Exports spans in batches when they end, and metrics at an interval, over OTLP/HTTP.
 *
 * Mechanism: one request per signal at a time; the queue is bounded, and spans beyond it are dropped and counted,
 * never back-pressure on jobs. Retries are in `send.ts`; a batch that fails finally counts as dropped. Nothing survives a
 * restart.
 */
export class Exporter {
  readonly sink: Sink
  readonly #settings: OtlpSettings
  readonly #meters: Meters
  readonly #since = Date.now()
  readonly #stop = new AbortController()
  readonly #timers: readonly NodeJS.Timeout[]
  #queue: Span[] = []
  #soon: NodeJS.Immediate | undefined
  #sending: Promise<void> | undefined
  #measuring: Promise<void> | undefined
  #dropped = 0
  #closed: Promise<void> | undefined

  constructor(settings: OtlpSettings, meters: Meters) {
    this.#settings = settings
    this.#meters = meters
    const spans = new Spans((span) => this.#push(span))
    this.sink = settings.tracesUrl === undefined ? () => undefined : spans.sink
    meters.observe(() => this.#readings(spans.forgotten))
    this.#timers = [
      setInterval(() => void this.#flush(), settings.spansEvery).unref(),
      setInterval(() => void this.#measure(), settings.metricsEvery).unref(),
    ]
  }

  /** Flushes, waiting at most `closeMsMax` for the collector. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    const late = setTimeout(() => this.#stop.abort(), closeMsMax)
    await Promise.all([this.#sending, this.#measuring])
    await Promise.all([this.#flush(), this.#measure()])
    clearTimeout(late)
    clearImmediate(this.#soon)
  }

  #push(span: Span): void {
    if (this.#queue.length >= queueMax) {
      this.#dropped += 1
      return
    }
    this.#queue.push(span)
    if (this.#queue.length < batchMax || this.#soon) return
    this.#soon = setImmediate(() => {
      this.#soon = undefined
      void this.#flush()
    })
  }

  /** Sends one batch at a time until the queue is empty. */
  #flush(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = undefined))
    return this.#sending
  }

  async #sendAll(): Promise<void> {
    const { resource, tracesUrl } = this.#settings
    if (tracesUrl === undefined) return
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, batchMax)
      const sent = await this.#send(tracesUrl, traceBody(resource, batch))
      if (!sent) this.#dropped += batch.length
    }
  }

  #measure(): Promise<void> {
    this.#measuring ??= this.#sendMetrics().finally(() => (this.#measuring = undefined))
    return this.#measuring
  }

  async #sendMetrics(): Promise<void> {
    const { resource, metricsUrl } = this.#settings
    if (metricsUrl === undefined) return
    const readings = await this.#meters.read()
    await this.#send(metricsUrl, metricsBody(resource, readings, this.#since, Date.now()))
  }

  #send(url: string, body: unknown): Promise<boolean> {
    const { headers, timeout } = this.#settings
    return sendToCollector(JSON.stringify(body), {
      url,
      headers,
      timeout,
      signal: this.#stop.signal,
    })
  }

  #readings(forgotten: number): readonly Reading[] {
    const dropped = this.#dropped + forgotten
    return [
      {
        name: 'mayfly.telemetry.dropped',
        description: 'Spans dropped: the queue was full, or the collector did not accept them',
        unit: '{span}',
        kind: 'counter',
        series: [{ labels: {}, value: dropped }],
      },
      gauge('mayfly.telemetry.waiting', 'Spans in the export queue', '{span}', this.#queue.length),
    ]
  }
}

/** Limits: queued spans, and spans per request. */
const queueMax = 4096
const batchMax = 512
const closeMsMax = 3_000

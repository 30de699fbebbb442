import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'

/** A collector of OTLP/HTTP in JSON, which parses strictly and stores what it receives. */
export interface Collector extends AsyncDisposable {
  readonly url: string
  readonly spans: Received[]
  /** Latest value of each metric. */
  readonly metrics: Map<string, ReceivedMetric>
  readonly resources: Record<string, unknown>[]
  readonly headers: IncomingHttpHeaders[]
  /** Number of request bodies received, whatever was answered. */
  bodies: number
  /** Queue of statuses to answer; 200 once it is empty. */
  readonly answers: number[]
  named(name: string): Received[]
}

export interface Received {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: number
  /** Nanoseconds since 1970. */
  readonly start: bigint
  readonly end: bigint
  readonly attributes: Record<string, unknown>
  readonly events: readonly string[]
  readonly error: string | undefined
}

export interface ReceivedMetric {
  readonly unit: string
  readonly points: readonly {
    readonly attributes: Record<string, unknown>
    readonly value: number
  }[]
}

export async function openCollector(): Promise<Collector> {
  const faults: unknown[] = []
  const server = createServer((incoming, outgoing) => {
    take(incoming)
      .catch((thrown: unknown) => void faults.push(thrown))
      .finally(() => {
        outgoing.statusCode = collector.answers.shift() ?? 200
        outgoing.end('{}')
      })
  })
  async function take(incoming: IncomingMessage): Promise<void> {
    const body = (await json(incoming)) as any
    collector.bodies += 1
    if ((collector.answers[0] ?? 200) !== 200) return
    assert.equal(incoming.method, 'POST')
    assert.equal(incoming.headers['content-type'], 'application/json')
    collector.headers.push(incoming.headers)
    if (incoming.url === '/v1/traces') takeSpans(body)
    else if (incoming.url === '/v1/metrics') takeMetrics(body)
    else assert.fail(`unexpected request to ${incoming.url}`)
  }
  function takeSpans(body: any): void {
    for (const { resource, scopeSpans } of body.resourceSpans) {
      collector.resources.push(attributesIn(resource.attributes))
      for (const { scope, spans } of scopeSpans) {
        assert.equal(scope.name, 'mayfly')
        collector.spans.push(...spans.map(spanIn))
      }
    }
  }
  function takeMetrics(body: any): void {
    for (const { scopeMetrics } of body.resourceMetrics)
      for (const { metrics } of scopeMetrics)
        for (const one of metrics) collector.metrics.set(one.name, metricIn(one))
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: [],
    metrics: new Map(),
    resources: [],
    headers: [],
    bodies: 0,
    answers: [],
    named: (name) => collector.spans.filter((span) => span.name === name),
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      assert.deepEqual(faults, [])
    },
  }
  return collector
}

function spanIn(span: any): Received {
  assert.match(span.traceId, /^(?!0{32})[0-9a-f]{32}$/)
  assert.match(span.spanId, /^(?!0{16})[0-9a-f]{16}$/)
  if (span.parentSpanId !== undefined) assert.match(span.parentSpanId, /^[0-9a-f]{16}$/)
  const [start, end] = [nanosIn(span.startTimeUnixNano), nanosIn(span.endTimeUnixNano)]
  assert.ok(start <= end)
  assert.ok([undefined, 2].includes(span.status.code))
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    name: span.name,
    kind: span.kind,
    start,
    end,
    attributes: attributesIn(span.attributes),
    events: span.events.map((event: any) => (nanosIn(event.timeUnixNano), String(event.name))),
    error: span.status.code === 2 ? span.status.message : undefined,
  }
}

function metricIn({ unit, sum, gauge, histogram }: any): ReceivedMetric {
  assert.equal([sum, gauge, histogram].filter(Boolean).length, 1)
  if (sum) assert.deepEqual([sum.aggregationTemporality, sum.isMonotonic], [2, true])
  if (histogram) assert.equal(histogram.aggregationTemporality, 2)
  const { dataPoints } = sum ?? gauge ?? histogram
  const points = dataPoints.map((point: any) => {
    assert.ok(nanosIn(point.startTimeUnixNano) <= nanosIn(point.timeUnixNano))
    if (histogram) assertBuckets(point)
    const value = histogram ? Number(point.count) : point.asDouble
    return { attributes: attributesIn(point.attributes), value }
  })
  return { unit, points }
}

function assertBuckets({ bucketCounts, explicitBounds, count }: any): void {
  assert.equal(bucketCounts.length, explicitBounds.length + 1)
  const total = bucketCounts.reduce((sum: number, one: string) => sum + Number(one), 0)
  assert.equal(String(total), count)
}

function nanosIn(text: unknown): bigint {
  assert.match(String(text), /^\d{19}$/)
  return BigInt(String(text))
}

function attributesIn(list: readonly any[]): Record<string, unknown> {
  return Object.fromEntries(list.map(({ key, value }) => [key, valueIn(value)]))
}

function valueIn(value: any): unknown {
  const [[kind, held] = []] = Object.entries(value)
  assert.equal(Object.keys(value).length, 1)
  if (kind === 'arrayValue') return (held as any).values.map(valueIn)
  if (kind === 'intValue') return (assert.equal(typeof held, 'string'), Number(held))
  assert.ok(['stringValue', 'boolValue', 'doubleValue'].includes(kind!))
  return held
}

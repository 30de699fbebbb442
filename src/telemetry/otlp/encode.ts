import type { Reading, Series } from '../instrument.ts'
import type { Attribute, Attributes, Span } from './span.ts'

/** OTLP/HTTP bodies in the protocol's JSON mapping: ids in hex, 64-bit integers as text. */
type Json = Readonly<Record<string, unknown>>

const scope = { name: 'mayfly' }

export function traceBody(resource: Attributes, spans: readonly Span[]): Json {
  return {
    resourceSpans: [
      { resource: attributes(resource), scopeSpans: [{ scope, spans: spans.map(spanJson) }] },
    ],
  }
}

/** Sums and histograms are cumulative since `since`, in milliseconds since 1970. */
export function metricsBody(
  resource: Attributes,
  readings: readonly Reading[],
  since: number,
  now: number,
): Json {
  const times = { startTimeUnixNano: nanos(since), timeUnixNano: nanos(now) }
  const metrics = readings
    .filter(({ series }) => series.length > 0)
    .map((reading) => metricJson(reading, times))
  return {
    resourceMetrics: [{ resource: attributes(resource), scopeMetrics: [{ scope, metrics }] }],
  }
}

function spanJson(span: Span): Json {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentSpanId && { parentSpanId: span.parentSpanId }),
    name: span.name,
    kind: span.kind === 'server' ? 2 : 1,
    startTimeUnixNano: nanos(span.start),
    endTimeUnixNano: nanos(span.end),
    ...attributes(span.attributes),
    events: span.events.map((event) => ({
      name: event.name,
      timeUnixNano: nanos(event.at),
      ...attributes(event.attributes),
    })),
    status: span.error === undefined ? {} : { code: 2, message: span.error },
  }
}

const CUMULATIVE = 2

function metricJson({ name, description, unit, kind, series }: Reading, times: Json): Json {
  const dataPoints = series.map((one) => pointJson(one, times))
  const about = { name, description, unit }
  if (kind === 'gauge') return { ...about, gauge: { dataPoints } }
  const aggregationTemporality = CUMULATIVE
  if (kind === 'histogram') return { ...about, histogram: { dataPoints, aggregationTemporality } }
  return { ...about, sum: { dataPoints, aggregationTemporality, isMonotonic: true } }
}

function pointJson({ labels, value, histogram }: Series, times: Json): Json {
  const common = { ...attributes(labels), ...times }
  if (!histogram) return { ...common, asDouble: value ?? 0 }
  return {
    ...common,
    count: String(histogram.count),
    sum: histogram.sum,
    bucketCounts: histogram.counts.map(String),
    explicitBounds: histogram.bounds,
  }
}

function attributes(of: Attributes): { readonly attributes: readonly Json[] } {
  const given = Object.entries(of).flatMap(([key, value]) =>
    value === undefined || value === null ? [] : [{ key, value: valueJson(value) }],
  )
  return { attributes: given }
}

function valueJson(value: Attribute): Json {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value !== 'number')
    return { arrayValue: { values: value.map((one) => ({ stringValue: one })) } }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

/** Nanoseconds as text: beyond the precision of a double. */
function nanos(ms: number): string {
  const whole = Math.floor(ms)
  return String(BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1e6)))
}

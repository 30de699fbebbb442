/** A span as it is exported: finished, with its place in a trace. Times are milliseconds since 1970, with fractions. */
export interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string | undefined
  readonly name: string
  readonly kind: 'internal' | 'server'
  readonly start: number
  readonly end: number
  readonly attributes: Attributes
  readonly events: readonly SpanEvent[]
  /** The code of what went wrong; undefined where nothing did. */
  readonly error?: string | undefined
}

export interface SpanEvent {
  readonly name: string
  readonly at: number
  readonly attributes: Attributes
}

export type Attribute = string | number | boolean | readonly string[]
/** What is undefined or null is left out. */
export type Attributes = Readonly<Record<string, Attribute | null | undefined>>

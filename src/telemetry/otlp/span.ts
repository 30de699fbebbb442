/** Finished span with its trace context. Times are milliseconds since 1970, with fractions. */
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
  /** Error code; undefined on success. */
  readonly error?: string | undefined
}

export interface SpanEvent {
  readonly name: string
  readonly at: number
  readonly attributes: Attributes
}

export type Attribute = string | number | boolean | readonly string[]
/** Undefined and null values are omitted. */
export type Attributes = Readonly<Record<string, Attribute | null | undefined>>

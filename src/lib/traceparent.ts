import { randomBytes } from 'node:crypto'

/** Parsed `traceparent` header of W3C Trace Context. */
export interface TraceParent {
  /** 32 lower-case hex digits. */
  readonly traceId: string
  /** Parent span: 16 lower-case hex digits. */
  readonly spanId: string
  /** True if the caller records the trace. */
  readonly sampled: boolean
}

const form = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** Parses a header; undefined if invalid. An unknown version is parsed as far as version 00 goes. */
export function readTraceparent(text: string | undefined): TraceParent | undefined {
  const parts = text === undefined ? null : form.exec(knownPart(text))
  if (!parts) return undefined
  return {
    traceId: parts[1]!,
    spanId: parts[2]!,
    sampled: (Number.parseInt(parts[3]!, 16) & 1) === 1,
  }
}

/** Version 00 has exactly four fields; later ones may append more after a dash. */
function knownPart(text: string): string {
  return text.startsWith('00') || text[55] !== '-' ? text : text.slice(0, 55)
}

export function writeTraceparent({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`
}

export function newTraceId(): string {
  return randomHex(16)
}

export function newSpanId(): string {
  return randomHex(8)
}

/** Random hex, never all zeros, which means "absent". */
function randomHex(bytes: number): string {
  const hex = randomBytes(bytes).toString('hex')
  return /[^0]/.test(hex) ? hex : randomHex(bytes)
}

import type { Event, Point } from '../contract/event.ts'

export interface LogOptions {
  /** Target: `process.stderr` or a file. Its buffer level is checked before each line. */
  readonly stream: LineStream
  /** `json`: one object a line; `human`: for a terminal. Default: by whether the stream is a TTY. */
  readonly form?: 'json' | 'human'
  readonly color?: boolean
  /** Points to omit, such as those of every job. */
  readonly without?: ReadonlySet<Point>
}

export interface LineStream {
  write(text: string): unknown
  readonly writableLength?: number
  readonly isTTY?: boolean
}

export interface LogSink {
  (event: Event): void
  /** Lines dropped because the reader was too slow. */
  readonly dropped: number
}

/** Buffer limit for a slow reader; beyond it lines are dropped. */
const waitingBytesMax = 1 << 20
const fieldCharsMax = 300

/**
 * Writes events as lines without blocking: lines a full stream cannot take are counted, and the count is in the next
 * line.
 */
export function createLogSink(options: LogOptions): LogSink {
  const { stream, without, form = stream.isTTY ? 'human' : 'json' } = options
  const color = options.color ?? (Boolean(stream.isTTY) && !process.env['NO_COLOR'])
  let reportedDrops = 0
  const sink = (event: Event): void => {
    if (without?.has(event.point)) return
    if ((stream.writableLength ?? 0) > waitingBytesMax) {
      log.dropped += 1
      return
    }
    const missed = log.dropped - reportedDrops
    reportedDrops = log.dropped
    const line = form === 'json' ? jsonLine(event, missed) : humanLine(event, missed, color)
    stream.write(`${line}\n`)
  }
  const log = Object.assign(sink, { dropped: 0 })
  return log
}

function jsonLine(event: Event, missed: number): string {
  const more = missed > 0 ? { dropped: missed } : {}
  return safeJson({ ...event, time: new Date(event.at).toISOString(), ...more })
}

/** `12:00:00.123 phase/closed exec_… network="none" (guest)`, with control characters escaped. */
function humanLine(event: Event, missed: number, color: boolean): string {
  const time = new Date(event.at).toISOString().slice(11, 23)
  const point = color ? `\u001b[${hue(event.point)}m${event.point}\u001b[0m` : event.point
  const fields = Object.entries(event.fields).map(([name, value]) => `${name}=${short(value)}`)
  const trust = event.trust === 'host' ? [] : [`(${event.trust})`]
  const gap = missed > 0 ? [`[${missed} lines dropped]`] : []
  const rest = [event.run ?? '-', ...fields, ...trust, ...gap].map(visible)
  return [time, point, ...rest].join(' ')
}

/** Red for problems, dim for the rest. */
function hue(point: Point): number {
  return /lost|failed|anomaly|denied|refused|terminated|unavailable|unenforced|unsigned/.test(point)
    ? 31
    : 2
}

function short(value: unknown): string {
  const text = safeJson(typeof value === 'number' ? Math.round(value * 1000) / 1000 : value)
  return text.length > fieldCharsMax ? `${text.slice(0, fieldCharsMax)}…` : text
}

/** Escapes control characters, because fields may contain a guest's text. */
function visible(text: string): string {
  return text.replace(controls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

// C0 and C1 controls, and bidi marks.
const controls = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'undefined'
  } catch {
    return '"unreadable"'
  }
}

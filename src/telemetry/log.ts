import type { Event, Point } from '../contract/event.ts'
import { isLogged, levelOf, type LogLevel } from './log-level.ts'

export interface LogOptions {
  /** Target: `process.stderr` or a file. Its buffer level is checked before each line. */
  readonly stream: LineStream
  /** `json`: one object a line; `human`: for a terminal. Default: by whether the stream is a TTY. */
  readonly form?: 'json' | 'human'
  readonly color?: boolean
  /** Points to omit, such as those of every job. */
  readonly without?: ReadonlySet<Point>
  /** Least level of the events, which then is in each line; default: every event, without a level. */
  readonly level?: LogLevel
  /** Requests that were answered, at every level but `off`. */
  readonly access?: boolean
}

export interface LineStream {
  write(text: string): unknown
  readonly writableLength?: number
  readonly isTTY?: boolean
}

export interface LogSink {
  (event: Event): void
  /** Lines dropped because the reader was too slow, or because there were too many of refused requests. */
  readonly dropped: number
}

/** Buffer limit for a slow reader; beyond it lines are dropped. */
const waitingBytesMax = 1 << 20
const fieldCharsMax = 300
/** Lines about refused requests in a minute: clients cause them. */
const REFUSALS_PER_MINUTE = 600

/**
 * Writes events as lines without blocking: lines a full stream cannot take are counted, and the count is in the next
 * line.
 */
export function createLogSink(options: LogOptions): LogSink {
  const { stream, without, form = stream.isTTY ? 'human' : 'json' } = options
  const color = options.color ?? (Boolean(stream.isTTY) && !process.env['NO_COLOR'])
  const isDated = !stream.isTTY
  let reportedDrops = 0
  const refusals = { since: 0, count: 0 }
  const isFlood = ({ point, at }: Event): boolean => {
    if (point !== 'door/answered' || options.access) return false
    if (at - refusals.since >= 60_000) Object.assign(refusals, { since: at, count: 0 })
    return (refusals.count += 1) > REFUSALS_PER_MINUTE
  }
  const sink = (event: Event): void => {
    const level = options.level && levelOf(event)
    if (without?.has(event.point) || !isWanted(event, level, options)) return
    if ((stream.writableLength ?? 0) > waitingBytesMax || (level === 'warn' && isFlood(event))) {
      log.dropped += 1
      return
    }
    const missed = log.dropped - reportedDrops
    reportedDrops = log.dropped
    const line =
      form === 'json'
        ? jsonLine(event, missed, level)
        : humanLine(event, missed, { color, level, isDated: isDated && level !== undefined })
    stream.write(`${line}\n`)
  }
  const log = Object.assign(sink, { dropped: 0 })
  return log
}

function isWanted(event: Event, level: LogLevel | undefined, options: LogOptions): boolean {
  if (level === undefined || options.level === undefined) return true
  const isAccess = options.access === true && event.point === 'door/answered'
  return (isAccess && options.level !== 'off') || isLogged(level, options.level)
}

function jsonLine(event: Event, missed: number, level: LogLevel | undefined): string {
  const time = new Date(event.at).toISOString()
  const head = level === undefined ? {} : { time, level }
  return visible(safeJson({ ...head, ...event, time, ...(missed > 0 && { dropped: missed }) }))
}

interface HumanForm {
  readonly color: boolean
  readonly level: LogLevel | undefined
  readonly isDated: boolean
}

/** `12:00:00.123 phase/closed exec_… network="none" (guest)`, with control characters escaped. */
function humanLine(event: Event, missed: number, { color, level, isDated }: HumanForm): string {
  const iso = new Date(event.at).toISOString()
  const time = isDated ? iso : iso.slice(11, 23)
  const point = color ? `\u001b[${hue(event.point)}m${event.point}\u001b[0m` : event.point
  const fields = Object.entries(event.fields).map(([name, value]) => `${name}=${short(value)}`)
  const trust = event.trust === 'host' ? [] : [`(${event.trust})`]
  const gap = missed > 0 ? [`[${missed} lines dropped]`] : []
  const rest = [event.run ?? '-', ...fields, ...trust, ...gap].map(visible)
  return [time, ...(level === undefined ? [] : [level.padEnd(5)]), point, ...rest].join(' ')
}

/** Red for problems, dim for the rest. */
function hue(point: Point): number {
  return /lost|failed|anomaly|denied|refused|terminated|unavailable|unenforced|unsigned/.test(point)
    ? 31
    : 2
}

function short(value: unknown): string {
  const text = safeJson(value)
  return text.length > fieldCharsMax ? `${text.slice(0, fieldCharsMax)}…` : text
}

/** Escapes control characters, because fields may contain a guest's text; JSON has them only within strings. */
function visible(text: string): string {
  return text.replace(controls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const controls = /[\p{Cc}\p{Bidi_Control}\u2028\u2029\ufeff]/gu

/** Measurements have three decimals. */
function rounded(_name: string, value: unknown): unknown {
  return typeof value === 'number' ? Math.round(value * 1000) / 1000 : value
}

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value, rounded) ?? 'undefined'
  } catch {
    return '"unreadable"'
  }
}

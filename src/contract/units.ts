import * as z from 'zod'
import { boundedNumber } from './schema-parts.ts'
import { feedAgeMsMax } from './vulnerability.ts'

/** Milliseconds as a number, or text with a unit: `250ms`, `5s`, `2m`, `1h`. */
const DURATION = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/
/** An age has no unit below an hour. */
const AGE = /^([1-9]\d{0,3})(h|d)$/
const MS_PER = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
/** Bytes as a number, or text with a unit, 1 KB being 1,024 bytes: `64MB`, `1.5GB`. */
const SIZE = /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)$/
const BYTES_PER = {
  B: 1,
  KB: 2 ** 10,
  MB: 2 ** 20,
  GB: 2 ** 30,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}

/** Longest life a job may request: a day, in milliseconds. */
export const durationMsMax = 86_400_000
/** Largest size a job may request: 1 TiB, in bytes. */
export const sizeBytesMax = 2 ** 40

/** Least CPU limit in cores: with less, a program would not reach its first instruction in time. */
export const coresMin = 0.01
export const coresMax = 1024
/** Least I/O limit, in bytes a second. */
export const ioBytesMin = 4096
/** Largest scratch space of a wall, in bytes. */
export const diskBytesMax = 64 * 2 ** 30

/** Parses a duration into whole milliseconds; undefined if invalid. */
export function parseDuration(value: number | string): number | undefined {
  return parse(value, DURATION, MS_PER, durationMsMax)
}

/** Parses a size into whole bytes; undefined if invalid. */
export function parseSize(value: number | string): number | undefined {
  return parse(value, SIZE, BYTES_PER, sizeBytesMax)
}

/** Parses the age of a feed into milliseconds; undefined if invalid. */
export function parseFeedAge(value: number | string): number | undefined {
  const ms = typeof value === 'number' && !Number.isInteger(value) ? NaN : value
  return parse(ms, AGE, MS_PER, feedAgeMsMax) || undefined
}

function parse(
  value: number | string,
  form: RegExp,
  units: Readonly<Record<string, number>>,
  max: number,
): number | undefined {
  const [, amount, unit = ''] = typeof value === 'string' ? (form.exec(value) ?? []) : []
  const total = typeof value === 'number' ? value : Number(amount) * (units[unit] ?? NaN)
  return total >= 0 && total <= max ? Math.round(total) : undefined
}

/** A quantity in a job or a configuration; becomes a whole number. */
function quantity(text: string, read: (value: number | string) => number | undefined) {
  const error = `expected ${text}`
  return z.union([z.number(), z.string()], { error }).transform((value, ctx) => {
    const amount = read(value)
    if (amount !== undefined) return amount
    ctx.addIssue({ code: 'custom', message: error })
    return z.NEVER
  })
}

export const duration = quantity(
  'a duration of 24h at most: whole milliseconds as a number, or text such as "250ms", "5s", "2m"',
  parseDuration,
)
export const size = quantity(
  'a size of 1024GB at most: whole bytes as a number, or text such as "512KB", "64MB", "1GB"',
  parseSize,
)
/** Memory in bytes. 0 would mean no limit to a mount and to programs of walls. */
export const memorySize = size.refine((bytes) => bytes >= 1, 'expected at least 1 byte')
/** Scratch space of one job in bytes. */
export const diskSize = size.refine((bytes) => bytes <= diskBytesMax, 'expected at most 64 GB')
/** I/O in bytes a second. */
export const ioRate = size.refine((bytes) => bytes >= ioBytesMin, 'expected at least 4 KB a second')
export const cores = boundedNumber(coresMin, coresMax, 'cores')
export const feedAge = quantity('an age: "12h" or "7d", up to "365d"', parseFeedAge)

import * as z from 'zod'

/** Milliseconds as a number, or text with a unit: `250ms`, `5s`, `2m`, `1h`. */
const DURATION = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/
const MS_PER = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const
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
} as const

/** Longest life a job may request: a day, in milliseconds. */
export const durationMsMax = 86_400_000
/** Largest size a job may request: 1 TiB, in bytes. */
export const sizeBytesMax = 2 ** 40

/** Parses a duration into whole milliseconds; undefined if invalid. */
export function parseDuration(value: number | string): number | undefined {
  if (typeof value === 'number') return inRange(value, durationMsMax)
  const [, amount, unit] = DURATION.exec(value) ?? []
  return amount
    ? inRange(Number(amount) * MS_PER[unit as keyof typeof MS_PER], durationMsMax)
    : undefined
}

/** Parses a size into whole bytes; undefined if invalid. */
export function parseSize(value: number | string): number | undefined {
  if (typeof value === 'number') return inRange(value, sizeBytesMax)
  const [, amount, unit] = SIZE.exec(value) ?? []
  return amount
    ? inRange(Number(amount) * BYTES_PER[unit as keyof typeof BYTES_PER], sizeBytesMax)
    : undefined
}

function inRange(value: number, max: number): number | undefined {
  return Number.isFinite(value) && value >= 0 && value <= max ? Math.round(value) : undefined
}

const durationText = 'a duration: milliseconds as a number, or text such as "250ms", "5s", "2m"'
const sizeText = 'a size: bytes as a number, or text such as "512KB", "64MB", "1GB"'

/** A duration in a job or a configuration; becomes whole milliseconds. */
export const duration = z
  .union([z.number(), z.string()], { error: `expected ${durationText}` })
  .transform((value, ctx) => {
    const ms = parseDuration(value)
    if (ms !== undefined) return ms
    ctx.addIssue({ code: 'custom', message: `expected ${durationText}` })
    return z.NEVER
  })

/** A size in a job or a configuration; becomes whole bytes. */
export const size = z
  .union([z.number(), z.string()], { error: `expected ${sizeText}` })
  .transform((value, ctx) => {
    const bytes = parseSize(value)
    if (bytes !== undefined) return bytes
    ctx.addIssue({ code: 'custom', message: `expected ${sizeText}` })
    return z.NEVER
  })

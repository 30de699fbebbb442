import { MayflyError } from '../contract/error.ts'

const MS_PER = { h: 3_600_000, d: 86_400_000 } as const

/** Parses `30d`, `12h` or `2030-01-31` to milliseconds since 1970; null for `never`. Throws MayflyError USAGE. */
export function expiryOf(text: string, now: number): number | null {
  if (text === 'never') return null
  const [, amount, unit] = /^(\d{1,6})([hd])$/.exec(text) ?? []
  const [, day] = /^(\d{4}-\d{2}-\d{2})(?:T[\d:.]+Z)?$/.exec(text) ?? []
  const at = amount ? now + Number(amount) * MS_PER[unit as 'h' | 'd'] : Date.parse(text)
  // Date.parse reads the 30th of February as the 2nd of March.
  if ((amount || (day && isDay(day))) && at > now) return at
  throw new MayflyError(
    'USAGE',
    `Cannot use "${text}": expected a time in the future, such as 90d, 12h, 2030-01-31, or never`,
  )
}

function isDay(text: string): boolean {
  const at = Date.parse(text)
  return at >= 0 && new Date(at).toISOString().startsWith(text)
}

import type { RanFunction } from './provider.ts'
import { zoneNameMax } from './zone-limits.ts'
import { type TracedFunction } from './zones.ts'

/** Characters inspected for a name before and after the start of a function, in UTF-16 units. */
const nameSearchChars = 80
const functionsMax = 1000
const identifier = String.raw`#?[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*`
const declared = new RegExp(String.raw`^(?:async\s+)?function\s*\*?\s*(${identifier})`, 'u')
const method = new RegExp(
  String.raw`^(?!async\s*\(|(?:async\s+)?function\b)(?:static\s+)?(?:async\s+)?\*?\s*(?:[gs]et\s+)?(${identifier})\s*\(`,
  'u',
)
const last = /[\p{ID_Continue}$#\u200c\u200d]/u

/**
 * Functions that ran, with name and lines from the source, in source order. Positions beyond the
 * source are dropped: they come from an untrusted worker.
 */
export function tracedFunctions(
  code: string,
  ran: readonly RanFunction[],
): readonly TracedFunction[] {
  const starts = lineStarts(code)
  return ran
    .filter(({ start, end }) => start < end && end <= code.length)
    .toSorted((a, b) => a.start - b.start || b.end - a.end)
    .slice(0, functionsMax)
    .map(({ zone = 'main', start, end, calls }) => ({
      zone,
      name: nameOf(code, start).slice(0, zoneNameMax),
      line: lineAt(starts, start),
      endLine: lineAt(starts, end - 1),
      calls: Math.max(1, calls),
    }))
}

/** Name in the source; empty if anonymous. */
function nameOf(code: string, start: number): string {
  const from = code.slice(start, start + nameSearchChars)
  const before = code.slice(Math.max(0, start - nameSearchChars), start)
  return (declared.exec(from) ?? method.exec(from))?.[1] ?? assignedTo(before)
}

/**
 * Variable or key it is assigned to: `name =` or `name:`, scanned backwards, each character once.
 */
function assignedTo(before: string): string {
  const text = before.trimEnd()
  if (!text.endsWith('=') && !text.endsWith(':')) return ''
  const left = text.slice(0, -1).trimEnd()
  let from = left.length
  while (from > 0 && last.test(left[from - 1]!)) from--
  return left.slice(from)
}

/** Line starts, by JavaScript's line terminators. */
function lineStarts(code: string): readonly number[] {
  const ends = code.matchAll(/\r\n|[\n\r\u2028\u2029]/g)
  return [0, ...Array.from(ends, ({ index, 0: end }) => index + end.length)]
}

/** 1-based number of the last line that starts at or before the offset. */
function lineAt(starts: readonly number[], offset: number): number {
  let [low, high] = [0, starts.length]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (starts[middle]! <= offset) low = middle
    else high = middle
  }
  return low + 1
}

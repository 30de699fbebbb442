/**
 * A source map with the lines of our sources and no columns: a fraction of the bytes, and what a stack trace needs. What is of a
 * package has no line: its place in the file is shown. Fields of a segment are differences to the segment before, in base 64 VLQ.
 */
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const CONTINUED = 32

interface SourceMap {
  readonly sources: readonly string[]
  readonly mappings: string
}

/** `placeOf` gives the place of a source as the generated file sees it. */
export function thinMap(text: string, placeOf: (source: string) => string): string {
  const map = JSON.parse(text) as SourceMap
  const at = { source: 0, line: 0 }
  const kept = { source: 0, line: 0 }
  const isPackage = map.sources.map((source) => source.includes('node_modules/'))
  const lines = map.mappings.split(';').map((line) => {
    const segments: string[] = []
    let [column, keptColumn, isFirst, wasPackage] = [0, 0, true, false]
    for (const segment of line === '' ? [] : line.split(',')) {
      const [moved = 0, source, row = 0] = valuesOf(segment)
      column += moved
      if (source === undefined) continue
      at.source += source
      at.line += row
      if (isPackage[at.source]) {
        // A segment without a source ends the one before.
        if (!isFirst && !wasPackage) segments.push(encode(column - keptColumn))
        if (!isFirst && !wasPackage) keptColumn = column
        wasPackage = true
        continue
      }
      if (!isFirst && !wasPackage && at.source === kept.source && at.line === kept.line) continue
      wasPackage = false
      const moves = [column - keptColumn, at.source - kept.source, at.line - kept.line, 0]
      segments.push(moves.map(encode).join(''))
      Object.assign(kept, at)
      keptColumn = column
      isFirst = false
    }
    return segments.join(',')
  })
  const sources = map.sources.map(placeOf)
  return JSON.stringify({ ...map, sources, names: [], mappings: lines.join(';') })
}

function valuesOf(segment: string): readonly number[] {
  const values: number[] = []
  let [value, shift] = [0, 0]
  for (const digit of segment) {
    const bits = digits.indexOf(digit)
    value |= (bits & (CONTINUED - 1)) << shift
    shift += 5
    if (bits & CONTINUED) continue
    values.push(value & 1 ? -(value >> 1) : value >> 1)
    value = shift = 0
  }
  return values
}

function encode(value: number): string {
  let rest = value < 0 ? (-value << 1) | 1 : value << 1
  let text = ''
  do {
    const bits = rest & (CONTINUED - 1)
    rest >>>= 5
    text += digits[rest > 0 ? bits | CONTINUED : bits]!
  } while (rest > 0)
  return text
}

/** Line and column of an offset, both from 1; a column counts UTF-16 units, as JavaScript engines do. */
export function positionOf(source: string, offset: number): { line: number; column: number } {
  const before = source.slice(0, Math.min(Math.max(0, offset), source.length))
  let line = 1
  let start = 0
  for (const { index, 0: end } of before.matchAll(/\r\n|[\n\r\u2028\u2029]/g)) {
    line++
    start = index + end.length
  }
  return { line, column: before.length - start + 1 }
}

import { sanitise } from '../output/sanitise.ts'

/** Columns shown around a position. */
const widthMax = 100

/**
 * Source line of an error with a caret below the column; undefined for a position outside. Lines and columns start
 * at 1.
 *
 *     frameOf('return 1 +', 1, 11)   // '1 | return 1 +\n  |           ^'
 */
export function codeFrameOf(source: string, line: number, column: number): string | undefined {
  const text = source.split(/\r\n|[\n\r\u2028\u2029]/)[line - 1]
  if (text === undefined || column < 1 || column > text.length + 1) return undefined
  const from = Math.max(0, Math.min(column - 1 - widthMax / 2, text.length - widthMax))
  const before = sanitise(text.slice(from, column - 1)).replaceAll('\t', ' ')
  const after = sanitise(text.slice(column - 1, from + widthMax)).replaceAll('\t', ' ')
  const number = String(line)
  return `${number} | ${before}${after}\n${' '.repeat(number.length)} | ${' '.repeat(before.length)}^`
}

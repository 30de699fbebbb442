import type { Entry } from '../contract/job.ts'
import { readModule, WasmError } from '../lib/wasm-module.js'

/**
 * Entry of a base64 WebAssembly module: a program if it exports `_start`, else a call of `run`. An invalid
 * module counts as a program; the wall reports the error.
 */
export function wasmEntry(source: string): Entry {
  try {
    const { exports } = readModule(Buffer.from(source, 'base64'))
    return exports.some(({ name }) => name === '_start') ? 'program' : 'function'
  } catch {
    return 'program'
  }
}

/** Fault of a base64 WebAssembly module before its code, for which each wall refuses it. The code is the engine's to check. */
export function wasmFault(source: string): { message: string; offset: number } | undefined {
  try {
    readModule(Buffer.from(source, 'base64'))
    return undefined
  } catch (thrown) {
    if (!(thrown instanceof WasmError)) throw thrown
    return { message: thrown.message, offset: thrown.offset }
  }
}

/** Estimated number of decisions plus one in an unparsed language: a size measure, never a finding. */
export function branchesOf(source: string): number {
  const decisions = /\b(?:if|elif|for|while|except|case|and|or|until)\b|&&|\|\|/g
  return 1 + (withoutTexts(source).match(decisions)?.length ?? 0)
}

/** Removes comments and single-line strings. Linear: each character is inspected a few times. */
function withoutTexts(source: string): string {
  const mark = /["'#]/g
  const parts: string[] = []
  // Memo: no string with this quote ends before here, so that a later unterminated one is not scanned again.
  const openUntil: Record<string, number> = { '"': 0, "'": 0 }
  let from = 0
  for (let found = mark.exec(source); found; found = mark.exec(source)) {
    const [sign] = found
    let end = found.index
    if (sign === '#') end = endOfLine(source, found.index)
    else if (found.index >= openUntil[sign]!) {
      const { closed, at } = endOfString(source, found.index)
      if (closed) end = at
      else openUntil[sign] = at
    }
    if (end === found.index) continue
    parts.push(source.slice(from, found.index))
    from = mark.lastIndex = end
  }
  return parts.join('') + source.slice(from)
}

/** Position after the closing quote, or where the string is cut off. */
function endOfString(source: string, start: number): { closed: boolean; at: number } {
  const quote = source[start]
  for (let at = start + 1; at < source.length; at++) {
    const unit = source[at]!
    if (unit === quote) return { closed: true, at: at + 1 }
    if (unit === '\n') return { closed: false, at }
    if (unit !== '\\') continue
    if (at + 1 === source.length || LINE_ENDS.has(source[at + 1]!)) return { closed: false, at }
    at++
  }
  return { closed: false, at: source.length }
}

const LINE_ENDS: ReadonlySet<string> = new Set(['\n', '\r', '\u2028', '\u2029'])

function endOfLine(source: string, start: number): number {
  let at = start
  while (at < source.length && !LINE_ENDS.has(source[at]!)) at++
  return at
}

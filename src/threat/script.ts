import type { Entry } from '../contract/job.ts'
import { readModule } from '../lib/wasm-module.js'

/**
 * How a Python source is run, from the names bound at its top level: `function` when `main` is one (it is called
 * with the input), `body` when `result` is (the input is the global `input`), else `program`. Text in strings and
 * comments binds nothing.
 */
export function pythonEntry(source: string): Entry {
  const names = topLevelNames(source)
  if (names.has('main')) return 'function'
  return names.has('result') ? 'body' : 'program'
}

/**
 * How a WebAssembly module, as base64, is run: a program when it exports `_start`, else its `run` is called. What cannot
 * be read is called a program; the wall says what is wrong with it.
 */
export function wasmEntry(source: string): Entry {
  try {
    const { exports } = readModule(Buffer.from(source, 'base64'))
    return exports.some(({ name }) => name === '_start') ? 'program' : 'function'
  } catch {
    return 'program'
  }
}

/** Decisions in a source whose language is not parsed here, plus one: a rough size, never a finding. */
export function branchesOf(source: string): number {
  const decisions = /\b(?:if|elif|for|while|except|case|and|or|until)\b|&&|\|\|/g
  return 1 + (withoutTexts(source).match(decisions)?.length ?? 0)
}

/** A source without its comments and the strings that end on their line. Each character is looked at a few times. */
function withoutTexts(source: string): string {
  const mark = /["'#]/g
  const parts: string[] = []
  // Up to here no string with this quote ends: within one that does not, each of its quotes is escaped, and a
  // string from there would go on the same way.
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

/** Behind the quote that ends the string, or where it is cut off. */
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

const STRINGS_AND_COMMENTS =
  /[rbfuRBFU]{0,2}(?:"""(?:\\[^]|[^\\])*?(?:"""|\\?$(?![^]))|'''(?:\\[^]|[^\\])*?(?:'''|\\?$(?![^]))|"(?:\\[^]|[^"\\\n])*"?|'(?:\\[^]|[^'\\\n])*'?)|#[^\n]*/g

/** What runs only as a program is, to whoever calls it, not there either. */
const HAS_OWN_NAMES = /^(?:(?:async\s+)?def|class)\b|^if\b.*\b__name__\b/

function topLevelNames(source: string): Set<string> {
  const names = new Set<string>()
  const bare = source.replace(STRINGS_AND_COMMENTS, (text) => (text.startsWith('#') ? '' : '0'))
  let depth = 0
  let carried = false
  // Where a body began whose names are its own; blocks of other statements bind for the top level too.
  let hiddenBelow = Infinity
  for (const line of bare.split(/\r\n|\r|\n/)) {
    const text = line.trimStart()
    const indent = line.length - text.length
    if (depth === 0 && !carried && text !== '') {
      if (indent <= hiddenBelow) {
        bindLine(text, names)
        hiddenBelow = HAS_OWN_NAMES.test(text) ? indent : Infinity
      }
    }
    for (const mark of line) {
      if ('([{'.includes(mark)) depth++
      else if (')]}'.includes(mark)) depth = Math.max(0, depth - 1)
    }
    carried = line.endsWith('\\')
  }
  return names
}

function bindLine(line: string, names: Set<string>): void {
  for (const statement of line.split(';')) {
    const text = statement.trim()
    const defined = /^(?:async\s+)?(?:def|class)\s+(\w+)/.exec(text)?.[1]
    if (defined) names.add(defined)
    const imported = /^(?:from\s+\S+\s+)?import\s+(.+)/.exec(text)?.[1]
    for (const part of imported?.replace(/[()]/g, '').split(',') ?? []) {
      names.add(
        part
          .trim()
          .split(/\sas\s+/)
          .at(-1)!,
      )
    }
    for (const target of targetsOf(text)) names.add(target)
  }
}

function targetsOf(text: string): string[] {
  const annotated = /^(\w+)\s*:[^=]+=(?!=)/.exec(text)?.[1]
  if (annotated) return [annotated]
  const parts = text.split(/(?<![=!<>:+\-*/%&|^@])=(?!=)/)
  return parts
    .slice(0, -1)
    .flatMap((part) => part.split(','))
    .map((part) => part.replace(/[()[\]*\s]/g, ''))
    .filter((part) => /^\w+$/.test(part))
}

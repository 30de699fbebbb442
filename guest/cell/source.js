import { withLoader } from '../process/cell-imports.js'

/**
 * Builds the script of a cell from the edit plan of the analysis. The plan is untrusted and contains only ranges: the
 * replacement text of each kind of edit is defined here, and a plan that does not fit the code is refused. A cell with a
 * top-level await becomes an async function; its names are declared outside of it.
 */

/** @typedef {[kind: string, start: number, end: number]} Edit */
/** @typedef {{ awaits: boolean, edits: Edit[] }} Plan */
/** @typedef {{ line: number, column: number }} Place */
/** Part of the script; `from` is its offset in the code, undefined for generated text. @typedef {{ text: string, from: number | undefined }} Piece */

const NOTHING = { awaits: false, edits: [] }

/**
 * @param {string} code @param {Plan} [plan]
 * @returns {{ code: string, place?: (line: number, column: number) => Place | undefined }} `place` maps a position of the
 *   script to one of the code (from 1), or to undefined for generated text. Absent if all positions are the same
 */
export function scriptOf(code, plan = NOTHING) {
  const { awaits, edits } = plan
  assertFits(code, edits)
  /** @type {Piece[]} */
  const pieces = []
  const made = (/** @type {string} */ text) => pieces.push({ text, from: undefined })
  const kept = (/** @type {number} */ from, /** @type {number} */ to) =>
    pieces.push({ text: code.slice(from, to), from })
  if (awaits) made(headOf(code, edits))
  let at = 0
  for (const [start, end, write] of replacements(code, edits, awaits)) {
    kept(at, start)
    for (const text of write) pieces.push(text)
    at = end
  }
  kept(at, code.length)
  if (awaits) made('\n})()')
  const script = pieces.map(({ text }) => text).join('')
  return pieces.every(({ from }) => from !== undefined)
    ? { code: script }
    : { code: script, place: placer(pieces, code) }
}

/** Asserts that the ranges are ordered and within the code; only names may lie within other ranges. @param {string} code @param {readonly Edit[]} edits */
function assertFits(code, edits) {
  let at = 0
  let before = 0
  for (const [kind, start, end] of edits) {
    const isInner = kind === 'name' || kind === 'function'
    if (start < before || end < start || end > code.length || (!isInner && start < at))
      throw new RangeError('Cannot run the cell: its plan does not fit its code')
    before = start
    if (HOLDS_NAMES.has(kind)) at = kind === 'import' ? end : start
    else if (!isInner) at = end
  }
}

const HOLDS_NAMES = new Set(['class', 'abstract-class', 'import', 'result'])

/** Start of an async cell: declares its names outside of the function; functions are hoisted. @param {string} code @param {readonly Edit[]} edits */
function headOf(code, edits) {
  const textOf = (/** @type {Edit} */ [, start, end]) => code.slice(start, end)
  const functions = edits.filter(([kind]) => kind === 'function').map(textOf)
  const names = new Set([...edits.filter(([kind]) => kind === 'name').map(textOf), ...functions])
  const declared = names.size > 0 ? `var ${[...names].join(',')};` : ''
  return `${declared}(async()=>{${functions.map((name) => `this.${name}=${name};`).join('')}`
}

/**
 * Ranges to replace, with the replacement text. Keywords keep their length, so that columns stay the same.
 * @param {string} code @param {readonly Edit[]} edits @param {boolean} awaits
 * @returns {[start: number, end: number, write: Piece[]][]}
 */
function replacements(code, edits, awaits) {
  /** @type {[number, number, Piece[]][]} */
  const list = []
  const put = (
    /** @type {number} */ start,
    /** @type {number} */ end,
    /** @type {string} */ text,
  ) => list.push([start, end, [{ text, from: text.length === end - start ? start : undefined }]])
  for (const [index, [kind, start, end]] of edits.entries()) {
    const length = end - start
    if (kind === 'lexical') put(start, end, (awaits ? '0,' : 'var').padEnd(length))
    else if (kind === 'var') put(start, end, '0,'.padEnd(length))
    else if (kind === 'loop-var' || kind === 'type') put(start, end, ' '.repeat(length))
    else if (kind === 'bare') put(start, end, '=void 0')
    else if (kind === 'import') put(start, end, imported(code.slice(start, end)))
    else if (kind === 'class' || kind === 'abstract-class') {
      const name = nameAfter(code, edits, index)
      const isExpression = kind === 'class'
      put(start, start, `${awaits ? '' : 'var '}${name}=${isExpression ? '' : '(()=>{'}`)
      put(end, end, isExpression ? ';' : `;return ${name}})();`)
    } else if (kind === 'result') {
      put(start, start, awaits ? 'return(' : '(')
      put(end, end, ')')
    }
  }
  return list.toSorted((a, b) => a[0] - b[0])
}

/** Name of the class at `index`. @param {string} code @param {readonly Edit[]} edits @param {number} index */
function nameAfter(code, edits, index) {
  while (index < edits.length && edits[index]?.[0] !== 'name') index++
  const [, from, to] = edits[index] ?? ['name', 0, 0]
  return code.slice(from, to)
}

/** Import in an async cell: assigns to the names declared outside. @param {string} text */
function imported(text) {
  const made = withLoader(text)
  if (!('code' in made)) throw new SyntaxError(made.message)
  return made.code.replace(/^const /, '0,')
}

/** @param {readonly Piece[]} pieces @param {string} code */
function placer(pieces, code) {
  /** Offsets of the pieces in the script. @type {{ at: number, from: number | undefined, length: number }[]} */
  const spans = []
  let at = 0
  for (const { text, from } of pieces) {
    spans.push({ at, from, length: text.length })
    at += text.length
  }
  const script = linesOf(pieces.map(({ text }) => text).join(''))
  const source = linesOf(code)
  return (/** @type {number} */ line, /** @type {number} */ column) => {
    const begin = script[line - 1]
    if (begin === undefined) return undefined
    const offset = begin + column - 1
    const span = spans.findLast((one) => one.at <= offset && offset < one.at + one.length)
    if (span?.from === undefined) return undefined
    const own = span.from + offset - span.at
    const row = source.findLastIndex((start) => start <= own)
    return { line: row + 1, column: own - (source[row] ?? 0) + 1 }
  }
}

/** Offset of each line. @param {string} text */
function linesOf(text) {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

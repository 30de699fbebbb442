/**
 * Texts of a picture, shared by terminal and SVG. Names and reasons come from untrusted code, so each foreign
 * text passes `plain` once before it is drawn.
 */

/** Maximum characters shown of a foreign text, and of a reason. */
const TEXT_MAX = 120
const REASON_MAX = 300
/** Maximum lines of a wrapped text: enough for a reason at the least width. */
export const linesMax = 12
const MINUTE = 60_000
const SECOND = 1000
const HOUR = 3_600_000
const KB = 1024
/** Longest time shown: a hundred days. */
const MS_MAX = 8_640_000_000

/** Control characters, bidirectional marks, and characters invalid in XML or a terminal. */
const UNSAFE = /[\p{Cc}\p{Bidi_Control}\u2028\u2029\ufeff\ufff9-\ufffc\ufffe\uffff]/gu
/** More than two combining marks overflow into adjacent lines. */
const PILED_MARKS = /(\p{M}{2})\p{M}+/gu

/**
 * Untrusted text as one short line without controls, line breaks or changes of direction.
 *
 *     plain('\x1b[2Jgone')   // '\\x1b[2Jgone'
 *
 * @param {unknown} value
 */
export function plain(value, max = TEXT_MAX) {
  const given = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  const line = given
    .slice(0, 4 * max)
    .toWellFormed()
    .replace(/\s+/gu, ' ')
    .trim()
    .replace(PILED_MARKS, '$1')
    .replace(UNSAFE, (found) => escaped(found.codePointAt(0) ?? 0))
  return shortened(line, max)
}

/**
 * A reason, without a redundant prefix about the anomaly.
 * @param {unknown} reason
 */
export function whyText(reason) {
  return plain(reason, REASON_MAX).replace(/^anomaly (?:low|medium|high): /, '')
}

/**
 * At most `max` characters; an ellipsis marks a cut.
 * @param {string} text
 * @param {number} max
 */
function shortened(text, max) {
  const characters = Array.from(text)
  return characters.length <= max ? text : `${characters.slice(0, Math.max(0, max - 1)).join('')}…`
}

/** Limits a number to 0 … MAX_SAFE_INTEGER; 0 for a missing or infinite one. @param {number | undefined} value */
export function finite(value) {
  return value !== undefined && Number.isFinite(value)
    ? Math.min(Math.max(0, value), Number.MAX_SAFE_INTEGER)
    : 0
}

/** Milliseconds limited to the range that can be drawn, 0 to `MS_MAX`. @param {number | undefined} ms */
export function moment(ms) {
  return ms === Infinity ? MS_MAX : Math.min(finite(ms), MS_MAX)
}

/**
 * Milliseconds in readable units: `0.4 ms`, `12 ms`, `6.21 s`, `2 min 5 s`, `1 h 3 min`.
 * @param {number} ms
 */
export function durationText(ms) {
  if (ms > 0 && ms < 0.1) return '< 0.1 ms'
  if (ms < 10) return `${rounded(ms, 1)} ms`
  if (Math.round(ms) < SECOND) return `${Math.round(ms)} ms`
  if (rounded(ms / SECOND, 2) < 60) return `${rounded(ms / SECOND, 2)} s`
  const seconds = Math.round(ms / SECOND)
  const rest = seconds % 60
  if (seconds < HOUR / SECOND) return `${Math.floor(seconds / 60)} min${rest ? ` ${rest} s` : ''}`
  const minutes = Math.round(ms / MINUTE)
  return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ''}`
}

/**
 * A time label for an axis with steps of `step` milliseconds: all labels of a scale use one unit.
 * @param {number} ms
 * @param {number} step
 */
export function momentText(ms, step) {
  const unit = step >= MINUTE ? 'min' : step >= 100 ? 's' : 'ms'
  const size = { min: MINUTE, s: SECOND, ms: 1 }[unit]
  return `${rounded(ms / size, 3)} ${unit}`
}

/**
 * Bytes: `12 B`, `1.5 KB`, `128 MB`.
 * @param {number} bytes
 */
export function bytesText(bytes) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let [size, unit] = [bytes, 0]
  while (rounded(size, 1) >= KB && unit < units.length - 1) [size, unit] = [size / KB, unit + 1]
  return `${rounded(size, size < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`
}

/**
 * The first few items of a list, and the number of the others.
 * @param {readonly string[]} items
 */
export function listText(items, shown = 2) {
  const first = items.slice(0, shown).map((item) => plain(item, 40))
  const more = items.length - first.length
  return more > 0 ? `${first.join(', ')} and ${more.toLocaleString('en')} more` : first.join(', ')
}

/**
 * Wraps a text to at most `linesMax` lines, and breaks a word that fits on none; the last line has the rest, even if that does
 * not fit.
 * @param {string} text
 * @param {(line: string) => boolean} fits
 */
export function wrapped(text, fits) {
  /** @type {string[]} */
  const lines = []
  const words = text.split(' ').filter(Boolean)
  for (const word of words.flatMap((one) => (fits(one) ? [one] : piecesOf(one, fits)))) {
    const last = lines.at(-1)
    const longer = `${last} ${word}`
    if (last !== undefined && (lines.length === linesMax || fits(longer)))
      lines.splice(-1, 1, longer)
    else lines.push(word)
  }
  return lines
}

/** The longest pieces of a word that fit on a line. @param {string} word @param {(line: string) => boolean} fits */
function piecesOf(word, fits) {
  /** @type {string[]} */
  const pieces = []
  for (const letter of word.match(/\P{M}\p{M}*|\p{M}+/gu) ?? []) {
    const longer = `${pieces.at(-1) ?? ''}${letter}`
    if (pieces.length > 0 && fits(longer)) pieces.splice(-1, 1, longer)
    else pieces.push(letter)
  }
  return pieces
}

/** Status of a job: a mark that is readable without colour, and a text. */
export const ends = /** @type {const} */ ({
  running: ['▶', 'good', 'under way'],
  ok: ['✓', 'good', 'it ran to its end'],
  error: ['✗', 'bad', 'the code threw, or the program failed'],
  blocked: ['⊘', 'bad', 'it was refused before it ran'],
  timeout: ['■', 'warn', 'its time was over'],
  limit: ['■', 'warn', 'it hit a ceiling'],
  terminated: ['■', 'bad', 'it was ended while it ran'],
  unavailable: ['⊘', 'warn', 'no wall here can hold it safely enough'],
  refused: ['✗', 'bad', 'what it gave back broke its contract'],
  failed: ['✗', 'bad', 'the wall or Mayfly broke, not the code'],
  cancelled: ['■', 'warn', 'it was cancelled'],
})

/** Mark and loudness of each kind of event. */
export const kinds = /** @type {const} */ ({
  tightened: ['▼', 'calm'],
  advanced: ['»', 'warn'],
  anomaly: ['!', 'bad'],
  denied: ['×', 'bad'],
  frozen: ['‖', 'warn'],
  thawed: ['▷', 'calm'],
  captured: ['◉', 'calm'],
  zone: ['+', 'calm'],
  channel: ['↔', 'calm'],
  terminated: ['■', 'warn'],
  several: ['…', 'warn'],
})

/** @param {number} code */
function escaped(code) {
  const hex = code.toString(16)
  return code < 0x100 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`
}

/** @param {number} value @param {number} digits */
function rounded(value, digits) {
  return Number(value.toFixed(digits))
}

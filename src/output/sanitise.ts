/**
 * Makes text safe for a terminal: characters that could move the cursor, set a title or reorder text (bidi) are
 * escaped as `\x1b` or `\u202e`. Line ends and tabs stay. JSON output is not sanitised: there the text is data.
 *
 *     sanitise('\x1b[2Jgone')   // '\\x1b[2Jgone'
 */
export function sanitise(text: string): string {
  return text.replace(UNSAFE, (found) => {
    const code = found.codePointAt(0)!
    return code < 0x100 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`
  })
}

/** As `sanitise`, for a field of one line such as a path: line ends are escaped too, so that it cannot forge a line. */
export function sanitiseLine(text: string): string {
  return sanitise(text).replace(/[\r\n]/g, (end) => (end === '\n' ? '\\n' : '\\r'))
}

/** As `sanitise`, for several lines: those after the first are indented, so that none can pass for a line of Mayfly's. */
export function sanitiseBlock(text: string): string {
  return sanitise(text).replace(/\r?\n(?=\S)/g, '\n  ')
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}

/** Controls except tab, LF and CR LF; bidi marks and overrides; separators at which some terminals break lines. */
const UNSAFE = /(?!\t|\n|\r\n)[\p{Cc}\p{Bidi_Control}\u2028\u2029\ufeff]/gu

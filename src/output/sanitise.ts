/**
 * Makes text safe to print on a terminal: what could move the cursor, change a title, or turn the order of letters
 * round is written out, as `\x1b` or `\u202e`. Line ends and tabs stay. In JSON the text stays as it was: there it
 * is data.
 *
 *     sanitise('\x1b[2Jgone')   // '\\x1b[2Jgone'
 */
export function sanitise(text: string): string {
  return text.replace(UNSAFE, (found) => {
    const code = found.codePointAt(0)!
    return code < 0x100 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`
  })
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}

/** Controls but tab, line feed and CR LF; bidirectional marks and overrides; separators some terminals break lines at. */
const UNSAFE = /(?!\t|\n|\r\n)[\p{Cc}\p{Bidi_Control}\u2028\u2029\ufeff]/gu

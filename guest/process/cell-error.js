/** Error of a cell: three bounded strings for the record, and the text that Node would print. */
import { inspect } from 'node:util'
import { describe } from '../realm/describe.js'
import { ownFrames } from './result.js'

const OF_CELL = /\bcell-\d+\.js:\d+/
/** Frames below a cell: its evaluation, and the loader of its imports. */
const OURS = /\n\s+at .*(?:node:internal|node:inspector|\/guest\/process\/)[^\n]*?( \{)?$/gm
const PRINTED_CHARS_MAX = 64 * 1024

/** @typedef {{ code: string, name?: string, message: string, stack?: string }} CellError */

/** @param {unknown} thrown @param {string} work @param {string} [place] position, if the source does not compile */
export function errorOfCell(thrown, work, place) {
  const { name, message, stack } = /** @type {CellError} */ (describe(thrown, inspect))
  if (place !== undefined && name === 'SyntaxError' && !OF_CELL.test(stack ?? ''))
    return syntaxError(message, place)
  return { code: 'USER_ERROR', name, message, stack: stack && ownFrames(withoutOurs(stack), work) }
}

/** @param {string} message @param {string} place @returns {CellError} */
export function syntaxError(message, place) {
  const stack = `SyntaxError: ${message}\n    at ${place}`
  return { code: 'SYNTAX_ERROR', name: 'SyntaxError', message: `${message} (${place})`, stack }
}

/** Text of an uncaught error, as Node's REPL prints it. @param {unknown} thrown */
export function printed(thrown) {
  try {
    return `Uncaught ${withoutOurs(inspect(thrown)).slice(0, PRINTED_CHARS_MAX)}\n`
  } catch {
    return 'Uncaught exception that cannot be shown\n'
  }
}

/** @param {string} stack */
function withoutOurs(stack) {
  return stack.replaceAll(OURS, '$1')
}

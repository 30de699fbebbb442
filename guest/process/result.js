/** What a job answered becomes text, with the intrinsics as they were before it ran. */
import makeDescribe from '../realm/describe.js'
import primordials from '../realm/primordials.js'
import makeSerialise from '../realm/serialise.js'

const P = primordials()
const serialise = makeSerialise(P)
const describe = makeDescribe(P)

/** @param {unknown} value @param {number} bytesMax
 * @returns {{ encoding: string, text: string } | { code: string, message: string }} */
export const resultOf = (value, bytesMax) => serialise(value, bytesMax)

/** Three bounded strings of whatever was thrown; its frames are those of the job's own files.
 * @param {unknown} thrown @param {string} work */
export function errorOf(thrown, work) {
  const { name, message, stack } = describe(thrown)
  const told = stack === undefined ? undefined : ownFrames(stack, work)
  return {
    code: isSyntax(name, stack, work) ? 'SYNTAX_ERROR' : 'USER_ERROR',
    name,
    message,
    stack: told,
  }
}

/** V8 puts the place before the error where the source could not be read. */
function isSyntax(name, stack = '', work = '') {
  return name === 'SyntaxError' && new P.RegExp(`^(file://)?${work}/`).test(stack)
}

/** @param {string} stack @param {string} work */
function ownFrames(stack, work) {
  return stack
    .split('\n')
    .filter((line) => !/^\s+at .*(node:internal|\/opt\/mayfly\/)/.test(line))
    .join('\n')
    .replaceAll(`file://${work}/`, '')
    .replaceAll(`${work}/`, '')
}

/** Serialises a job's result, with intrinsics taken before it ran. */
import { inspect } from 'node:util'
import { describe } from '../realm/describe.js'
import { P } from '../realm/primordials.js'
import { serialise } from '../realm/serialise.js'

const { getBuiltinModule } = process
const CHECK = /** @type {const} */ ({ encoding: 'utf8', timeout: 2000, maxBuffer: 65_536 })

/** @param {unknown} value @param {number} bytesMax @param {string | null} work
 * @returns {{ encoding: string, text: string } | { code: string, message: string }} */
export const resultOf = (value, bytesMax, work) =>
  serialise(value, bytesMax, (/** @type {string} */ stack) => ownFrames(stack, work ?? '/'))

/**
 * Three bounded strings of a thrown value; frames of the job's own files only.
 * @param {unknown} thrown
 * @param {{ work: string, main: string }} job
 */
export function errorOf(thrown, { work, main }) {
  const { name, message, stack } = describe(thrown, inspect)
  if (name === 'SyntaxError' && !isFromInside(stack, work)) {
    const place = placeOf(stack, work) ?? placeIn(main, work)
    const where = place ? `${cutPlaces(place, work)}` : undefined
    return {
      code: 'SYNTAX_ERROR',
      name,
      message: where ? `${message} (${where})` : message,
      stack: `SyntaxError: ${message}${where ? `\n    at ${where}` : ''}`,
    }
  }
  return { code: 'USER_ERROR', name, message, stack: stack && ownFrames(stack, work) }
}

/** True if thrown while the code ran. @param {string} [stack] @param {string} [work] */
function isFromInside(stack = '', work = '') {
  return P.regExpExec(new P.RegExp(`\\n\\s+at .*${work}/`), stack) !== null
}

/**
 * V8 prints the position of a syntax error before the message. @param {string} [stack] @param {string} [work]
 */
function placeOf(stack = '', work = '') {
  const lines = P.split(stack, '\n')
  if (P.regExpExec(new P.RegExp(`^(file://)?${work}/.*:\\d+$`), lines[0] ?? '') === null)
    return undefined
  const column = P.indexOf(lines[2] ?? '', '^')
  return column < 0 ? lines[0] : `${lines[0]}:${column + 1}`
}

/**
 * Runs `node --check`, which prints the position of a syntax error: the error object does not expose it.
 * @param {string} main
 */
function placeIn(main, work) {
  // Loaded lazily: it loads Node's sockets and streams, and few jobs have a syntax error.
  const { spawnSync } = getBuiltinModule('node:child_process')
  const { stderr } = spawnSync(process.execPath, ['--check', main], CHECK)
  return placeOf(typeof stderr === 'string' ? stderr : '', work)
}

const OURS = /^\s+at .*(?:node:internal|node:inspector|node:diagnostics_channel|\/opt\/mayfly\/)/

/** Frames outside of the runner, with paths relative to the working folder. @param {string} stack @param {string} work */
export function ownFrames(stack, work) {
  const lines = P.split(stack, '\n')
  let told = ''
  for (let index = 0; index < lines.length; index++) {
    if (P.regExpExec(OURS, lines[index]) !== null) continue
    told += `${told === '' ? '' : '\n'}${lines[index]}`
  }
  return cutPlaces(told, work)
}

/** Makes paths relative to the working folder. @param {string} text @param {string} work */
function cutPlaces(text, work) {
  return P.arrayJoin(P.split(P.arrayJoin(P.split(text, `file://${work}/`), ''), `${work}/`), '')
}

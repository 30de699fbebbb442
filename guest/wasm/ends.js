import { Exit } from './wasi.js'

/** The job cannot run, or its module exceeded a bound: thrown to the code that reports ends. */
export class Refusal extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ name?: string, details?: Record<string, string | number>, status?: 'error' | 'limit' }} [more]
   */
  constructor(code, message, { name, details, status = 'error' } = {}) {
    super(message)
    this.end = {
      status,
      error: { code, message, ...(name && { name }), ...(details && { details }) },
    }
  }
}

/**
 * Maps a thrown value to the job's end. Only the engine's own exceptions are Errors here; but a guest can throw
 * values of its own.
 * @param {unknown} thrown
 */
export function endOf(thrown) {
  if (thrown instanceof Refusal) return thrown.end
  if (thrown instanceof Exit) return exitEnd(thrown.code)
  if (thrown instanceof WebAssembly.RuntimeError) return trap(thrown)
  if (thrown instanceof RangeError && /call stack/i.test(thrown.message)) return trap(thrown)
  if (thrown instanceof RangeError) return new Refusal('MEMORY', OUT_OF_MEMORY, limit).end
  if (thrown instanceof WebAssembly.LinkError)
    return new Refusal('WASM_LINK', plain(thrown.message), linkError).end
  if (thrown instanceof WebAssembly.Exception)
    return new Refusal('WASM_TRAP', 'An exception was not caught', { name: 'RuntimeError' }).end
  if (thrown instanceof TypeError) return new Refusal('WASM_LINK', WRONG_TYPES, linkError).end
  return new Refusal('WASM_TRAP', 'The module threw what is no error', { name: 'RuntimeError' }).end
}

const linkError = { name: 'LinkError' }
/** An import has the signature declared by the module, which may differ from WASI's. */
const WRONG_TYPES = 'The module calls a function of WASI with values of the wrong type'
const limit = /** @type {const} */ ({ status: 'limit' })
const OUT_OF_MEMORY = 'The job needed more memory than its limit'

/** Highest exit code of a process; a module may name any number of 32 bits. */
const EXIT_CODE_MAX = 255

/** @param {number} exitCode */
function exitEnd(exitCode) {
  if (exitCode === 0) return { status: 'ok', exitCode }
  const message = `The program exited with code ${exitCode}`
  const { end } = new Refusal('EXIT', message, { details: { exitCode } })
  return { ...end, exitCode: Math.min(exitCode, EXIT_CODE_MAX) }
}

/** Name, and the module's own stack frames, each of bounded length. @param {Error} error */
function trap({ message, stack = '' }) {
  const frames = stack
    .split('\n')
    .filter((line) => line.includes('wasm://'))
    .map(shortened)
  const error = { code: 'WASM_TRAP', name: 'RuntimeError', message }
  const text = [`RuntimeError: ${message}`, ...frames].join('\n')
  return { status: 'error', error: { ...error, stack: text } }
}

/** A module names its functions by up to 100,000 bytes. The place is at the end. @param {string} frame */
function shortened(frame) {
  if (frame.length <= FRAME_UNITS_MAX) return frame
  return `${frame.slice(0, FRAME_UNITS_MAX - PLACE_UNITS)}…${frame.slice(-PLACE_UNITS)}`
}

const FRAME_UNITS_MAX = 1000
const PLACE_UNITS = 100

/** The engine's message without the prefix of the API call. @param {string} message */
export function plain(message) {
  return message.replace(/^WebAssembly\.\w+\(\):? ?/, '')
}

import { Exit } from './wasi.js'

/** The job cannot be run as it stands, or its module broke a bound: an end, thrown to where ends are told. */
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
 * What a throw means for the job. Only what the engine made is an Error here, whatever the guest did; but a guest can
 * throw things of its own.
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
/** An import has the signature that the module gives it, which need not be WASI's. */
const WRONG_TYPES = 'The module calls a function of WASI with values of the wrong type'
const limit = /** @type {const} */ ({ status: 'limit' })
const OUT_OF_MEMORY = 'The job needed more memory than its limit'

/** @param {number} exitCode */
function exitEnd(exitCode) {
  if (exitCode === 0) return { status: 'ok' }
  return new Refusal('EXIT', `The program exited with code ${exitCode}`, { details: { exitCode } })
    .end
}

/** Name, and the frames that are the module's own. @param {Error} error */
function trap({ message, stack = '' }) {
  const frames = stack.split('\n').filter((line) => line.includes('wasm://'))
  const error = { code: 'WASM_TRAP', name: 'RuntimeError', message }
  const text = [`RuntimeError: ${message}`, ...frames].join('\n')
  return { status: 'error', error: { ...error, stack: text } }
}

/** The engine's own words without the name of the call they came from. @param {string} message */
export function plain(message) {
  return message.replace(/^WebAssembly\.\w+\(\):? ?/, '')
}

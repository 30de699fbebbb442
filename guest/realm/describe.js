// Reads a thrown value, which may be anything: a proxy, a symbol, an error whose `message` loops. Runs inside
// the isolate, under the job's deadline, and returns three bounded strings.
import { P } from './primordials.js'

const NAME_CHARS_MAX = 256
const MESSAGE_CHARS_MAX = 8192
const STACK_CHARS_MAX = 16384

/** `{ name?, message, stack? }`, own strings only. Never throws. */
function describe(thrown) {
  if (typeof thrown === 'object' ? thrown === null : typeof thrown !== 'function') {
    return { __proto__: null, message: cut(primitive(thrown), MESSAGE_CHARS_MAX) }
  }
  const message = text(thrown, 'message', MESSAGE_CHARS_MAX)
  const name = text(thrown, 'name', NAME_CHARS_MAX)
  const stack = text(thrown, 'stack', STACK_CHARS_MAX)
  return {
    __proto__: null,
    name: name === undefined || name === '' ? 'Error' : name,
    message: message === undefined ? 'A value that is no Error was thrown' : message,
    stack,
  }
}

function text(object, key, unitsMax) {
  try {
    const value = object[key]
    if (typeof value === 'string') return cut(value, unitsMax)
    if (value === undefined || typeof value === 'object' || typeof value === 'function')
      return undefined
    return cut(primitive(value), unitsMax)
  } catch {
    return undefined
  }
}

function primitive(value) {
  return typeof value === 'symbol' ? P.symbolToString(value) : '' + value
}

function cut(value, unitsMax) {
  return value.length > unitsMax ? P.slice(value, 0, unitsMax) + '…' : value
}

export { describe }

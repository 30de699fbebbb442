// Reads a thrown value, which may be anything: a proxy, a symbol, an error whose `message` loops. Runs inside
// the isolate, under the job's deadline, and returns three bounded strings.
import { P } from './primordials.js'

const NAME_CHARS_MAX = 256
const MESSAGE_CHARS_MAX = 8192
const STACK_CHARS_MAX = 16384
/** Errors told below the thrown one. */
const REASONS_MAX = 20
const REASONS = ['cause', 'errors', 'error', 'suppressed']

/**
 * `{ name?, message, stack? }`, own strings only; the stack is followed by the causes. `inspect` shows a value that is no
 * Error as the console does. Never throws.
 */
function describe(thrown, inspect) {
  if (typeof thrown === 'object' ? thrown === null : typeof thrown !== 'function') {
    return { __proto__: null, message: cut(primitive(thrown), MESSAGE_CHARS_MAX) }
  }
  const message = text(thrown, 'message', MESSAGE_CHARS_MAX)
  const name = text(thrown, 'name', NAME_CHARS_MAX)
  const stack = text(thrown, 'stack', STACK_CHARS_MAX)
  return {
    __proto__: null,
    name: name === undefined || name === '' ? 'Error' : name,
    message: message === undefined ? noError(thrown, inspect) : message,
    stack: stack && cut(stack + causes(thrown), STACK_CHARS_MAX),
  }
}

function noError(thrown, inspect) {
  const message = 'A value that is no Error was thrown'
  try {
    return cut(message + ': ' + inspect(thrown), MESSAGE_CHARS_MAX)
  } catch {
    // A trap of a proxy, or a function that it has for the console.
    return message
  }
}

function causes(thrown) {
  try {
    return reasons(thrown, '\n  ', { __proto__: null, left: REASONS_MAX, above: new P.Set() })
  } catch {
    // A proxy of a list of errors.
    return ''
  }
}

/** Causes and collected errors of an error, and theirs; getters are not called. */
function reasons(error, margin, told) {
  let text = ''
  if (!P.isError?.(error)) return text
  P.setAdd(told.above, error)
  for (let index = 0; index < REASONS.length; index++) {
    const name = REASONS[index]
    const property = P.descriptorOf(error, name)
    if (property === undefined || !P.hasOwn(property, 'value')) continue
    // An enumerable one of another name is a property of the program's own.
    if (property.enumerable && name !== 'cause') continue
    if (name !== 'errors') text += reason(name, property.value, margin, told)
    else if (P.isArray(property.value))
      for (let at = 0; at < property.value.length && told.left > 0; at++)
        text += reason('errors ' + at, P.descriptorOf(property.value, at)?.value, margin, told)
  }
  P.setDelete(told.above, error)
  return text
}

function reason(label, value, margin, told) {
  if (told.left-- <= 0) return ''
  const head = margin + '[' + label + ']: '
  if (!P.isError(value)) return head + data(value)
  if (P.setHas(told.above, value)) return head + '[Circular]'
  return (
    head + P.arrayJoin(P.split(headed(value), '\n'), margin) + reasons(value, margin + '  ', told)
  )
}

const headed = (error) =>
  text(error, 'stack', STACK_CHARS_MAX) ||
  text(error, 'name', NAME_CHARS_MAX) + ': ' + text(error, 'message', MESSAGE_CHARS_MAX)

function data(value) {
  try {
    const isJson = typeof value === 'object' || typeof value === 'string'
    return cut(isJson ? P.stringify(value) : primitive(value), MESSAGE_CHARS_MAX)
  } catch {
    return 'a value that is no data'
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

export { describe, text }

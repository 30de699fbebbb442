import { isBuiltin } from 'node:module'
import { REALM_FILE } from './parts.js'

/**
 * Maps an error thrown by a call into an isolate to the job's end. User code's own errors are read inside and
 * do not come this way; undefined stands for those that do: unhandled rejections.
 * @param {unknown} error
 * @param {{ isLate: boolean, isDisposed: boolean }} facts user code can forge a message, not these
 */
export function endOf(error, { isLate, isDisposed }) {
  if (error instanceof Refusal) return { status: error.status, error: error.error }
  const message = String(error?.message)
  if (isDisposed && message.startsWith('Isolate was disposed')) {
    return { status: 'limit', error: outOfMemory() }
  }
  if (isDisposed) return { status: 'failed', error: { code: 'CELL_LOST', message } }
  return isLate && message === TIMED_OUT ? { status: 'timeout', error: timeout() } : undefined
}

export const TIMED_OUT = 'Script execution timed out.'

/** Bounded strings of an error that isolated-vm copied out, without frames of this process. */
export function asText(error) {
  if (typeof error !== 'object' || error === null) return { message: clip(String(error), 8192) }
  const { name, message, stack } = error
  if (String(message).startsWith(NO_ERROR)) {
    return { name: 'Error', message: 'A value that is no Error was thrown' }
  }
  return {
    name: clip(String(name), 256),
    message: clip(String(message), 8192),
    stack: typeof stack === 'string' ? clip(insideOf(stack), 16_384) : undefined,
  }
}

/** Message of the error that isolated-vm makes for a thrown object that is no Error. */
const NO_ERROR = 'An object was thrown from supplied code within isolated-vm'
const BOUNDARY = '\n    at (<isolated-vm boundary>)'

/**
 * Part of a stack from before the boundary. For an error without a stack of its own, isolated-vm puts the frames of this
 * process there too: they begin with the frame that follows the boundary.
 */
function insideOf(stack) {
  const at = stack.lastIndexOf(BOUNDARY)
  if (at < 0) return ''
  const [inside = ''] = stack.split(BOUNDARY, 1)
  const [, host = ''] = stack.slice(at + BOUNDARY.length).split('\n', 2)
  return host === '' ? inside : (inside.split(`\n${host}`, 1)[0] ?? '')
}

const clip = (text, unitsMax) => (text.length > unitsMax ? `${text.slice(0, unitsMax)}…` : text)

/** The job cannot run; detected before any of it ran. */
export class Refusal extends Error {
  /**
   * @param {{ code: string, name?: string, message: string, stack?: string }} error
   * @param {'error' | 'failed'} status `error`: caused by the source; `failed`: by Mayfly
   */
  constructor(error, status = 'error') {
    super(error.message)
    this.error = error
    this.status = status
  }
}

/** End for a value thrown by user code, as the realm described it. */
export function thrown(described, job) {
  const { name, message } = described
  if (name === 'RangeError' && message === 'Array buffer allocation failed') {
    return { status: 'limit', error: outOfMemory() }
  }
  return { status: 'error', error: thrownError(described, job) }
}

/** Error for a value thrown by user code, as the realm described it. */
export function thrownError({ code, name, message: own, stack: raw }, job) {
  const message = name === 'ReferenceError' ? wayOn(own, job.task) : own
  const stack = raw && message !== own ? raw.replace(own, () => message) : raw
  const error = { code, message, ...(name && { name }) }
  return stack ? { ...error, stack: userFrames(stack, job) } : error
}

/** Wordings of `src/contract/remedy.ts`, which each entry point replaces by its own. */
const NODE = '"language": "node"'
const NETWORK = '"network": {"allow": ["HOST"]}'

/** A missing file, or a built-in that the language does not have. */
export function importRefused(specifier, from) {
  const what = `Cannot import ${JSON.stringify(specifier.slice(0, 200))} from "${from}"`
  if (isBuiltin(specifier)) {
    const message = `${what}: it is a module of Node; run it with ${NODE}`
    return { code: 'IMPORT_REFUSED', name: 'Error', message }
  }
  const message = `${what}: the job brought no such file; bring it with "files"`
  return { code: 'MODULE_NOT_FOUND', name: 'Error', message }
}

/**
 * Replaces V8's "Not supported" for `import()` without a handler by a message that names it, if one of the sources has such
 * an import, or if the error comes from code made by `eval` or `Function`, whose source is not known here.
 * @param {readonly string[]} sources
 */
export function withoutImport(outcome, sources) {
  const { error } = outcome
  const isOfV8 = error.message === NOT_SUPPORTED
  if (!isOfV8 || !(sources.some(hasImportCall) || GENERATED.test(error.stack))) return outcome
  const message = 'Cannot import at run time: a job has static imports of its own files only'
  const stack = error.stack && error.stack.replace(NOT_SUPPORTED, message)
  return {
    ...outcome,
    error: { ...error, code: 'IMPORT_REFUSED', message, ...(stack && { stack }) },
  }
}

const NOT_SUPPORTED = 'Not supported'
/** First frame of a stack, in generated code. */
const GENERATED = /^.*\n +at .*\beval at /

/** True also for one with a comment before its parenthesis. @param {string} source */
export const hasImportCall = (source) => /\bimport\s*(?:[(/]|\.\s*(?:source|defer)\b)/.test(source)

/** True for a source that may import at run time: by an import, or by code that it makes of text. @param {string} source */
export const mayImport = (source) =>
  hasImportCall(source) ||
  /\beval\b|\bFunction\s*\(|\.\s*constructor\s*\(|['"`]constructor['"`]/.test(source)

/**
 * @param {Error} error V8's error from compiling a source
 * @param {string} code the user's source
 * @param {string} [name] file name of the source
 */
export function syntaxError(error, code, name = 'job.js') {
  const [, message = error.message, file, line, column] =
    /^(.*) \[(.+):(\d+):(-?\d+)\]$/s.exec(error.message) ?? []
  const lines = code.split('\n')
  const isPastEnd = file === name && Number(line) > lines.length
  const at = isPastEnd ? [lines.length, (lines.at(-1) ?? '').length + 1] : [line, column]
  const what = isPastEnd ? 'Unexpected end of input' : message
  const where = line === undefined ? '' : `\n    at ${file}:${at.join(':')}`
  return {
    code: 'SYNTAX_ERROR',
    name: 'SyntaxError',
    message: line === undefined ? what : `${what} (${file}:${at.join(':')})`,
    stack: `SyntaxError: ${what}${where}`,
  }
}

/** Names that exist in Node but not in language `js`. */
const OF_NODE = new Set(
  (
    'Blob Buffer File FinalizationRegistry FormData MessageChannel ReadableStream Request SharedArrayBuffer ' +
    'TransformStream WeakRef WebSocket WritableStream __dirname __filename clearImmediate exports fs global http ' +
    'module os path process require setImmediate'
  ).split(' '),
)
const OF_NETWORKS = new Set(['fetch', 'Headers', 'Response'])

/** Message with a hint for a name that this language does not have. @param {string} own */
function wayOn(own, { language }) {
  const [, name = ''] = /^([\w$]+) is not defined$/.exec(own) ?? []
  const isOfNetworks = OF_NETWORKS.has(name)
  if (!OF_NODE.has(name) && !isOfNetworks) return own
  const network = isOfNetworks ? `, or grant a network with ${NETWORK}` : ''
  return `${name} is not defined here: language "${language}" has no Node; run it with ${NODE}${network}`
}

/** Removes frames of the realm, of the wrapper (negative columns) and all beyond the boundary. */
export function userFrames(stack, job) {
  const [inside = ''] = stack.split(BOUNDARY, 1)
  return inside
    .split('\n')
    .filter((line) => !/^\s+at /.test(line) || !isOurs(line))
    .map((line) => line.replace(/\(([^():]+):\d+:-\d+\)$/, '($1)'))
    .flatMap((line) => asWritten(line, job))
    .join('\n')
    .replace(/(?:\n +at (?:async )?new Promise \(<anonymous>\))+(?=\n +\[|$)/g, '')
}

/** Maps a frame of a transformed file to its source; none for generated code. */
function asWritten(line, job) {
  const [, before, file, row, column, after] = FRAME.exec(line) ?? []
  if (file === undefined) return [line]
  const place = job.place(file, Number(row), Number(column))
  if (place === undefined) return [line]
  return place === null ? [] : [`${before}${file}:${place.line}:${place.column}${after ?? ''}`]
}

const FRAME = /^(\s+at (?:.* \()?(?:async )?)([^()]+):(\d+):(\d+)(\)?)$/

/** True for the wrapper's own frame: it has no name, and no column or one below 1. */
const isOurs = (line) =>
  line.includes(REALM_FILE) ||
  line.includes('<isolated-vm') ||
  (/ at [^()]+:(?:\d+:-)?\d+$/.test(line) && !/:\d+:\d+$/.test(line))

const timeout = () => ({ code: 'TIMEOUT', message: 'The job did not end within its time' })
const outOfMemory = () => ({ code: 'MEMORY', message: 'The job needed more memory than its limit' })

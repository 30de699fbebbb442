/**
 * Evaluates a cell in V8's REPL mode, through an inspector session of the thread with itself: `const`, `let` and `class` may
 * be redeclared, top-level `await` works, and declarations persist. `node:vm` has none of that.
 */
import { Session } from 'node:inspector'
import { stripTypeScriptTypes } from 'node:module'
import vm from 'node:vm'
import { readConfig } from '../typescript/config.js'
import { transform } from '../typescript/transform.js'
import { withLoader } from './cell-imports.js'
import { has } from './own.js'

const STARTS_LIKE_OBJECT = /^\s*\{/
const ENDS_AS_STATEMENT = /;\s*$/
/** Added by the type stripper to a module whose imports are all of types. */
const EMPTY_EXPORT = /^export \{\s*\};?\s*$/m

/** @typedef {{ message: string, line: number, column: number }} Refusal source that does not compile */
/** @typedef {{ value: unknown } | { thrown: unknown, line: number, column: number } | 'terminated' | 'unreadable'} Evaluated */

/** Receives values from the inspector, which returns only handles. */
const box = { value: /** @type {unknown} */ (undefined) }
const { hasOwn } = Object
const everyObject = Object.prototype
const session = new Session()
session.connect()
const post = session.post.bind(session)
const boxId = handleOf(box)
/** @param {object} object @returns {string} */
function handleOf(object) {
  const name = '$mayfly$'
  Object.defineProperty(globalThis, name, { value: object, configurable: true })
  let id = ''
  post('Runtime.evaluate', { expression: name }, (_, answer) => {
    id = answer?.result.objectId ?? ''
  })
  Reflect.deleteProperty(globalThis, name)
  return id
}

/** JavaScript of a cell, with the same lines. @param {string} code @param {boolean} isTyped @returns {{ code: string } | Refusal} */
export function scriptOf(code, isTyped) {
  const plain = isTyped ? withoutTypes(code) : { code }
  if (has(plain, 'message')) return plain
  const script = withLoader(plain.code)
  return has(script, 'code') && isObject(script.code) ? { code: `(${script.code}\n)` } : script
}

/** Replaces types by spaces; syntax beyond erasable types, such as an enum, changes line numbers. @param {string} code @returns {{ code: string } | Refusal} */
function withoutTypes(code) {
  try {
    return { code: stripTypeScriptTypes(code) }
  } catch {
    const made = transform(
      code,
      'cell.ts',
      readConfig(() => undefined),
    )
    return has(made, 'error') ? made.error : { code: made.code.replace(EMPTY_EXPORT, '') }
  }
}

/** `{ a: 1 }` alone means an object, and not a block. @param {string} code */
function isObject(code) {
  if (!STARTS_LIKE_OBJECT.test(code) || ENDS_AS_STATEMENT.test(code)) return false
  try {
    return Boolean(new vm.Script(`async () => (${code}\n)`))
  } catch {
    return false
  }
}

/**
 * Positions are counted from 1. Resolves after a top-level await; a promise as the value of the last expression is not
 * awaited here. The inspector's handles of a cell are released only after it has settled: releasing them drops the cell's
 * promise, and Node aborts when the promise of a pending cell is collected. An abandoned cell therefore keeps its handles
 * while it is pending. `unreadable`: Node reads `error` of each answer, and found one that a cell put on Object.prototype.
 * @param {string} code @param {string} name @returns {Promise<Evaluated>}
 */
export function evaluate(code, name) {
  const expression = `${code}\n//# sourceURL=${name}`
  const how = { expression, replMode: true, awaitPromise: true, objectGroup: name }
  /** @type {PromiseWithResolvers<Evaluated>} */
  const { promise, resolve } = Promise.withResolvers()
  post('Runtime.evaluate', how, (error, answer) => {
    const refused = hasOwn(everyObject, 'error') ? 'unreadable' : 'terminated'
    resolve(error ? refused : evaluated(answer))
    post('Runtime.releaseObjectGroup', { objectGroup: name }, ignore)
  })
  return promise
}

/** @param {import('node:inspector').Runtime.EvaluateReturnType} answer @returns {Evaluated} */
function evaluated(answer) {
  if (!has(answer, 'exceptionDetails') || !answer.exceptionDetails)
    return { value: valueOf(answer.result) }
  const { exceptionDetails: details } = answer
  const { lineNumber, columnNumber } = details
  const thrown =
    has(details, 'exception') && details.exception ? valueOf(details.exception) : undefined
  return { thrown, line: lineNumber + 1, column: columnNumber + 1 }
}

/** Drops the inspector's console messages, which keep printed values alive. */
export function forgetMessages() {
  post('Runtime.discardConsoleEntries', ignore)
}

const ignore = () => undefined

/** @param {import('node:inspector').Runtime.RemoteObject} remote */
function valueOf(remote) {
  const objectId = has(remote, 'objectId') ? remote.objectId : undefined
  const unserializableValue = has(remote, 'unserializableValue')
    ? remote.unserializableValue
    : undefined
  if (objectId === undefined && unserializableValue === undefined)
    return has(remote, 'value') ? remote.value : undefined
  const how = {
    objectId: boxId,
    functionDeclaration: 'function (value) { this.value = value }',
    arguments: [objectId === undefined ? { unserializableValue } : { objectId }],
  }
  post('Runtime.callFunctionOn', how, ignore)
  const taken = box.value
  box.value = undefined
  return taken
}

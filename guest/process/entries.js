/** Entries of a job of language `node`: a program, a module, a function, a handler; once, or for each call of a batch. */
import Module, { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { types } from 'node:util'
import vm from 'node:vm'
import { parseJson } from '../parse-json.js'

const { apply } = Reflect
const { isPromise } = types
const { then } = Promise.prototype
const { nextTick } = process
const { toString: toSource } = Function.prototype
const DEFAULT_EXPORT =
  /\bexport\s+default\b|\bexport\s*\{[^}]*\bdefault\b|^\s*module\.exports\s*=|^\s*exports\.default\s*=/m

const RETURNS = /\breturn\b/

/** @typedef {import('./job.js').Job} Job */

/** @param {Job} job @param {string} main */
export function runNode(job, main) {
  const { task } = job
  process.argv = [process.argv[0] ?? 'node', main, ...(task.args ?? [])]
  job.main = main
  job.watchExit()
  const entry = entryOf(job)
  job.release()
  if (entry === 'program' && task.calls !== undefined) return refuseCalls(job)
  // In a tick of its own, so that exceptions reach only the job's handlers. A turn of the event loop would poll first.
  if (entry === 'program') {
    if (RETURNS.test(task.code)) keepReturned(job, main)
    nextTick(Module.runMain, main)
  } else if (entry === 'module' && task.calls === undefined) nextTick(runModule, job, main)
  else void runEntry(job, entry, main)
}

/** The function that Node makes of a CommonJS file may return a value: the result, where none is given otherwise. */
function keepReturned(/** @type {Job} */ job, /** @type {string} */ main) {
  const own = /** @type {{ _compile: Function }} */ (/** @type {unknown} */ (Module.prototype))
  const compile = own._compile
  own._compile = function (/** @type {unknown[]} */ ...args) {
    const isMain = args[1] === main
    if (isMain) own._compile = compile
    const value = apply(compile, this, args)
    if (!isMain || value === undefined) return value
    const keep = (/** @type {unknown} */ given) => void (job.exported = { has: true, value: given })
    // A promise that rejects is one that nobody handles.
    if (isPromise(value)) void apply(then, value, [keep])
    else keep(value)
    return value
  }
}

/** A program cannot be called. @param {Job} job */
export function refuseCalls(job) {
  job.fail(new TypeError('Cannot call the job: it is a program'))
  job.leave()
}

/** @param {Job} job */
function entryOf({ task }) {
  return task.entry === 'auto' ? guessed(task.code) : task.entry
}

/** A module if it has a default export, else a program. @param {string} code */
function guessed(code) {
  return DEFAULT_EXPORT.test(code) ? 'module' : 'program'
}

/** Runs the file like `node FILE`, then its exports. @param {Job} job @param {string} main */
async function runModule(job, main) {
  const { task } = job
  Module.runMain(main)
  let value
  try {
    value = (await import(pathToFileURL(main).href)).default
  } catch {
    // The program fails for the same reason, and reports it.
    return
  }
  if (typeof value !== 'function' || (task.isEntryGuessed && isClass(value))) {
    job.exported = { has: value !== undefined, value }
    return
  }
  const stopWaiting = failIfIdle(job)
  try {
    const result = await value(parseJson(task.inputText), contextOf(job))
    stopWaiting()
    // Pending work continues: without a value there is no end yet.
    if (result === undefined) return
    job.succeed(result)
  } catch (error) {
    job.fail(error)
  }
  job.leave()
}

const isClass = (/** @type {Function} */ value) => /^class\b/.test(apply(toSource, value, []))

/** @param {Job} job @param {string} entry @param {string} main */
async function runEntry(job, entry, main) {
  failIfIdle(job)
  try {
    job.succeed(await valueOf(job, entry, main))
  } catch (error) {
    job.fail(error)
  }
  job.leave()
}

/** Fails a job whose promise can no longer settle; returns a function that removes the check. @param {Job} job */
function failIfIdle(job) {
  const waitsForever = () =>
    job.fail(new Error('The job cannot finish: its promise is not settled, and nothing is pending'))
  job.events.on('beforeExit', waitsForever)
  return () => job.events.off('beforeExit', waitsForever)
}

/** @param {Job} job @param {string} entry @param {string} main */
async function valueOf(job, entry, main) {
  const callee = await calleeOf(job, entry, main)
  if (job.task.calls !== undefined) return batch(job, callee)
  return typeof callee === 'function' ? callee(parseJson(job.task.inputText)) : callee
}

/**
 * Returns a function that takes the input, or the value of an export that is not callable.
 * @param {Job} job @param {string} entry @param {string} main
 */
async function calleeOf(job, entry, main) {
  if (entry === 'function') return expression(job.task.code, main)
  const exported = await import(pathToFileURL(main).href)
  const handler = exported.handler ?? exported.default?.handler
  if (entry === 'handler') return (/** @type {unknown} */ input) => handled(job, handler, input)
  const value = exported.default
  if (typeof value !== 'function') return value
  return (/** @type {unknown} */ input) => value(input, contextOf(job))
}

/** Runs a batch serially. An exception belongs to its call only. @param {Job} job @param {unknown} callee */
async function batch(job, callee) {
  if (typeof callee !== 'function')
    throw new TypeError('Cannot call the job: its default export is not a function')
  const inputs = parseJson(job.task.inputText)
  let room = job.task.resultBytesMax
  for (let index = 0; index < inputs.length; index++)
    room -= await job.answer(() => callee(inputs[index]), room)
  return null
}

/**
 * `exports.handler` as in cloud functions: result, promise, or callback.
 * @param {Job} job @param {any} handler @param {unknown} input
 */
function handled(job, handler, input) {
  if (typeof handler !== 'function')
    throw new TypeError('Cannot run the job: exports.handler is not a function')
  return new Promise((resolve, reject) => {
    const callback = (/** @type {any} */ error, /** @type {any} */ value) =>
      error === undefined || error === null ? resolve(value) : reject(error)
    const given = handler(input, contextOf(job), callback)
    // A callback parameter ends the handler, as in AWS Lambda: a timer's id that it returns is no result.
    if (handler.length < 3 || typeof given?.then === 'function') resolve(given)
  })
}

/** @param {Job} job */
function contextOf(job) {
  return { getRemainingTimeInMillis: () => job.remainingMs() }
}

/** The source as a function expression; positions are preserved. @param {string} code @param {string} main */
function expression(code, main) {
  const before = '(function (require) { return ('
  const script = new vm.Script(`${before}${code}\n)})`, {
    filename: main,
    columnOffset: -before.length,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  })
  const value = script.runInThisContext()(createRequire(main))
  if (typeof value !== 'function')
    throw new TypeError('Cannot run the job: its source is not one function')
  return value
}

/** Runs a job of language `node`, and the common part of shell scripts, from release to end. */
import Module, { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import vm from 'node:vm'
import { childrenCpuMs } from '../../src/os/libc.js'
import { parseJson } from '../parse-json.js'
import { gatherArtifacts, knownFiles } from './artifacts.js'
import { readResult } from './ground.js'
import { errorOf, resultOf } from './result.js'
import { KIND, send, stay } from './wire.js'

const { defineProperty } = Object
const { apply } = Reflect
const { stringify } = JSON
const { toString: toSource } = Function.prototype
const cpuUsage = process.cpuUsage.bind(process)
const hrtime = process.hrtime.bigint
const reallyExit = process.reallyExit.bind(process)
const DEFAULT_EXPORT =
  /\bexport\s+default\b|\bexport\s*\{[^}]*\bdefault\b|^\s*module\.exports\s*=|^\s*exports\.default\s*=/m
const DISK_CODES = ['ENOSPC', 'EFBIG']

/** @typedef {ReturnType<typeof takeJob>} Job */

/** @param {import('./ground.js').Task} task @param {import('./ground.js').Settings} settings
 * @param {(kind: number, text?: string, bytes?: Uint8Array) => void} say */
export function takeJob(task, settings, say = send) {
  let released = 0n
  let file = ''
  let ended = false
  /** @type {unknown} */
  let uncaught
  let isUncaught = false
  /** @type {import('./artifacts.js').Known | undefined} */
  let known
  /** Default export of a program that is not callable: its result, unless it wrote one. */
  let exported = { has: false, value: /** @type {unknown} */ (undefined) }
  let cpuBefore = cpuUsage()
  const childrenBefore = childrenCpuMs()

  function release() {
    if (settings.work) known = knownFiles(settings.work, task.files)
    cpuBefore = cpuUsage()
    released = hrtime()
    say(KIND.released, String(Number(released) / 1e6))
  }

  /** Returns 0 for a job that broke the intrinsics, which must not prevent its end. */
  function childrenMs() {
    try {
      return childrenCpuMs() - childrenBefore
    } catch {
      return 0
    }
  }

  /** Reports the end; later ends are ignored. @param {Record<string, unknown>} meta @param {string} text */
  function end(meta, text = '') {
    if (ended) return
    ended = true
    const artifactsLeftOut =
      settings.work && known
        ? gatherArtifacts(settings.work, task.artifactBytesMax, sendArtifact, known)
        : []
    const { user, system } = cpuUsage(cpuBefore)
    const head = {
      protocol: 1,
      encoding: 'json',
      ...meta,
      cpuTimeMs: (user + system) / 1000 + childrenMs(),
      executionMs: released ? Number(hrtime() - released) / 1e6 : 0,
      artifactsLeftOut,
    }
    say(KIND.end, `${stringify(head)}\n${text}`)
    if (task.stays) stay()
  }

  /** @param {string} place @param {Uint8Array} bytes */
  function sendArtifact(place, bytes) {
    say(KIND.artifact, `${stringify({ path: place, size: bytes.length })}\n`, bytes)
  }

  const source = () => ({ work: settings.work ?? '/', main: file })

  /** @param {unknown} value */
  function succeed(value) {
    try {
      const result = resultOf(value, task.resultBytesMax)
      if ('code' in result) end({ status: 'error', error: result })
      else end({ status: 'ok', encoding: result.encoding }, result.text)
    } catch (error) {
      fail(error)
    }
  }

  /** @param {unknown} error */
  function fail(error) {
    end({ status: 'error', error: errorOf(error, source()) })
  }

  /** End of a program that exited by itself. @param {number} code @param {string} [signal] */
  function exit(code, signal) {
    if (isUncaught && code !== 0)
      return end({ status: 'error', exitCode: code, error: errorOf(uncaught, source()) })
    if (signal) {
      const error = { code: 'EXIT', message: `The program was ended by ${signal}` }
      return end({ status: 'error', signal, error })
    }
    if (code !== 0) {
      const error = { code: 'EXIT', message: `The program exited with ${code}` }
      return end({ status: 'error', exitCode: code, error })
    }
    finishProgram()
  }

  function finishProgram() {
    const text = readResult(settings, task.resultBytesMax)
    if (text === undefined) {
      const message = 'Cannot return the result: it takes more bytes than this job may return'
      return end({ status: 'error', exitCode: 0, error: { code: 'RESULT_TOO_LARGE', message } })
    }
    if (text !== '' && !isJson(text)) {
      const message = 'Cannot return the result: what the program wrote as its result is no JSON'
      return end({ status: 'error', exitCode: 0, error: { code: 'RESULT_NOT_JSON', message } })
    }
    if (text === '' && exported.has) return giveExported()
    end({ status: 'ok', exitCode: 0 }, text === '' ? 'null' : text)
  }

  /** If no module entry was requested, an exported class or server is no failure of the program. */
  function giveExported() {
    try {
      const result = resultOf(exported.value, task.resultBytesMax)
      if (!('code' in result))
        return end({ status: 'ok', exitCode: 0, encoding: result.encoding }, result.text)
      if (!task.isEntryGuessed) return end({ status: 'error', exitCode: 0, error: result })
    } catch (error) {
      if (!task.isEntryGuessed) return fail(error)
    }
    end({ status: 'ok', exitCode: 0 }, 'null')
  }

  /** Observes the exit of the process, after every listener of the job. */
  function watchExit() {
    process.on('uncaughtExceptionMonitor', (error) => {
      uncaught = error
      isUncaught = true
    })
    const { emit } = process
    const value = (/** @type {string} */ name, /** @type {unknown[]} */ ...args) => {
      try {
        return apply(emit, process, [name, ...args])
      } finally {
        if (name === 'exit') exit(Number(process.exitCode ?? args[0] ?? 0))
      }
    }
    defineProperty(process, 'emit', { value, configurable: true, writable: true })
  }

  const entryOf = () => (task.entry === 'auto' ? guessed(task.code) : task.entry)

  /** Rehearses a whole job but its end, with a dummy receiver. @param {string} main */
  async function rehearse(main) {
    file = main
    const entry = entryOf()
    release()
    succeed(await valueOf(entry, main))
  }

  /** @param {string} main */
  function runNode(main) {
    process.argv = [process.argv[0] ?? 'node', main, ...(task.args ?? [])]
    file = main
    watchExit()
    const entry = entryOf()
    release()
    if (entry === 'program' && task.calls !== undefined) return refuseCalls()
    // In a turn of its own, so that exceptions reach only the job's handlers.
    if (entry === 'program') setImmediate(Module.runMain, main)
    else if (entry === 'module' && task.calls === undefined) setImmediate(runModule, main)
    else void answer(entry, main)
  }

  /** Runs the file as `node FILE` does, then its exports. @param {string} main */
  async function runModule(main) {
    Module.runMain(main)
    let value
    try {
      value = (await import(pathToFileURL(main).href)).default
    } catch {
      // The program itself fails of it, and reports it.
      return
    }
    if (typeof value !== 'function' || (task.isEntryGuessed && isClass(value))) {
      exported = { has: value !== undefined, value }
      return
    }
    process.on('beforeExit', waitsForever)
    try {
      const result = await value(parseJson(task.inputText), context())
      process.off('beforeExit', waitsForever)
      // Pending work continues: without a value there is no end yet.
      if (result === undefined) return
      succeed(result)
    } catch (error) {
      fail(error)
    }
    reallyExit(0)
  }

  function waitsForever() {
    fail(new Error('The job waits for what never comes: its promise is not settled'))
  }

  /** @param {string} entry @param {string} main */
  async function answer(entry, main) {
    process.on('beforeExit', waitsForever)
    try {
      succeed(await valueOf(entry, main))
    } catch (error) {
      fail(error)
    }
    reallyExit(0)
  }

  /** @param {string} entry @param {string} main */
  async function valueOf(entry, main) {
    const callee = await calleeOf(entry, main)
    if (task.calls !== undefined) return batch(callee)
    return typeof callee === 'function' ? callee(parseJson(task.inputText)) : callee
  }

  /** Function that takes the input, or a value that takes none. @param {string} entry @param {string} main */
  async function calleeOf(entry, main) {
    if (entry === 'function') return expression(task.code, main)
    const exported = await import(pathToFileURL(main).href)
    const handler = exported.handler ?? exported.default?.handler
    if (entry === 'handler') return (/** @type {unknown} */ input) => handled(handler, input)
    const value = exported.default
    if (typeof value !== 'function') return value
    return (/** @type {unknown} */ input) => value(input, context())
  }

  /** Runs a batch serially. An exception belongs to its call only. @param {unknown} callee */
  async function batch(callee) {
    if (typeof callee !== 'function')
      throw new TypeError('Cannot call the job: its default export is not a function')
    const inputs = parseJson(task.inputText)
    let room = task.resultBytesMax
    for (let index = 0; index < inputs.length; index++) {
      const began = hrtime()
      try {
        const result = resultOf(await callee(inputs[index]), room)
        if ('code' in result) answered(began, { status: 'error', error: result })
        else {
          room -= result.text.length
          answered(began, { status: 'ok', encoding: result.encoding }, result.text)
        }
      } catch (error) {
        answered(began, { status: 'error', error: errorOf(error, source()) })
      }
    }
    return null
  }

  /** @param {bigint} began @param {Record<string, unknown>} meta @param {string} text */
  function answered(began, meta, text = 'null') {
    const executionMs = Number(hrtime() - began) / 1e6
    const head = { protocol: 1, encoding: 'json', ...meta, executionMs }
    say(KIND.answered, `${stringify(head)}\n${text}`)
  }

  /** A program cannot be called. */
  function refuseCalls() {
    fail(new TypeError('Cannot call the job: it is a program'))
    reallyExit(0)
  }

  /**
   * `exports.handler` as in cloud functions: result, promise, or callback.
   * @param {any} handler @param {unknown} input
   */
  function handled(handler, input) {
    if (typeof handler !== 'function')
      throw new TypeError('Cannot run the job: exports.handler is not a function')
    return new Promise((resolve, reject) => {
      const callback = (/** @type {any} */ error, /** @type {any} */ value) =>
        error === undefined || error === null ? resolve(value) : reject(error)
      const given = handler(input, context(), callback)
      // A handler with a callback parameter, and no other result, is awaited until it calls back.
      if (given !== undefined || handler.length < 3) resolve(given)
    })
  }

  function context() {
    const elapsed = () => Number(hrtime() - released) / 1e6
    return { getRemainingTimeInMillis: () => Math.max(0, task.timeoutMs - elapsed()) }
  }

  return { task, release, end, fail, refuseCalls, exit, rehearse, runNode }
}

const isClass = (/** @type {Function} */ value) => /^class\b/.test(apply(toSource, value, []))

/** End of a job of which nothing ran. @param {Job} job @param {any} error */
export function finishWith(job, error) {
  if (!DISK_CODES.includes(error?.code)) return job.fail(error)
  const message = 'The files of the job take more space than it may use'
  job.end({ status: 'limit', error: { code: 'DISK', message } })
}

/** A module if it has a default export, else a program. @param {string} code */
function guessed(code) {
  return DEFAULT_EXPORT.test(code) ? 'module' : 'program'
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

/** @param {string} text */
function isJson(text) {
  try {
    parseJson(text)
    return true
  } catch {
    return false
  }
}

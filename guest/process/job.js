/** Job of a runner, from its release to its end; executed by this process or by a shell. */
import { childrenCpuMs, childrenPeakBytes } from '../../src/os/libc.js'
import { parseJson } from '../parse-json.js'
import { gatherArtifacts, knownFiles } from './artifacts.js'
import { readResult } from './ground.js'
import { errorOf, resultOf } from './result.js'
import { KIND } from '../kinds.js'
import { markMemory, peakSince } from './memory-mark.js'
import { send, stay } from './wire.js'
import { has } from './own.js'

const { defineProperty } = Object
const { apply } = Reflect
const { stringify } = JSON
const cpuUsage = process.cpuUsage.bind(process)
const hrtime = process.hrtime.bigint
/** Time of children that this process had before it became a runner; a warm one starts none before its job. */
const childrenBefore = childrenCpuMs()
const DISK_CODES = ['ENOSPC', 'EFBIG']

/** @typedef {import('./ground.js').Task} Task */
/** @typedef {import('./ground.js').Settings} Settings */
/** @typedef {(kind: number, text?: string, bytes?: Uint8Array) => void} SendFrame */

/**
 * Effects of a job beyond its files; a rehearsal has stand-ins for all of them.
 * @typedef {object} Outside
 * @property {SendFrame} send
 * @property {Pick<NodeJS.Process, 'on' | 'off' | 'emit'>} events
 * @property {(code: number) => void} exit
 */

/** @type {Outside} */
const ownProcess = { send, events: process, exit: process.reallyExit.bind(process) }

export class Job {
  /** @type {Task} */
  task
  /** Path of its main file, once it is known. */
  main = ''
  /** Default export of a program that is not callable: its result, unless it wrote one. */
  exported = { has: false, value: /** @type {unknown} */ (undefined) }
  #settings
  #outside
  #released = 0n
  #ended = false
  #hasFailed = false
  /** @type {{ error: unknown } | undefined} */
  #uncaught
  /** @type {import('./artifacts.js').Known | undefined} */
  #known
  /** @type {NodeJS.CpuUsage | undefined} */
  #cpuBefore
  /** @type {import('./memory-mark.js').MemoryMark | undefined} */
  #memoryBefore

  /** @param {Task} task @param {Settings} settings @param {Outside} outside */
  constructor(task, settings, outside = ownProcess) {
    this.task = task
    this.#settings = settings
    this.#outside = outside
  }

  get events() {
    return this.#outside.events
  }

  /** Ends the process without its `exit` listeners. Walls count limits before the exit of a program that failed. */
  leave() {
    const { exit } = this.#outside
    exit(this.#hasFailed ? 1 : 0)
  }

  release() {
    const { work } = this.#settings
    if (work) this.#known = knownFiles(work, this.task.files, this.#laid(work))
    this.#cpuBefore = cpuUsage()
    this.#memoryBefore = markMemory()
    this.#released = hrtime()
    this.#report(KIND.released, String(Number(this.#released) / 1e6))
  }

  /** Paths below the working folder that the runner wrote, apart from the job's files. @param {string} work */
  #laid(work) {
    const { hasRoot, packages = [] } = this.#settings
    const main = this.main.startsWith(`${work}/`) ? [this.main.slice(work.length + 1)] : []
    if (!hasRoot) main.push('package.json')
    if (packages.length > 0) main.push('node_modules')
    return main
  }

  /** Milliseconds until its timeout. */
  remainingMs() {
    const elapsed = Number(hrtime() - this.#released) / 1e6
    return Math.max(0, this.task.timeoutMs - elapsed)
  }

  /** Observes the exit of the process, after every listener of the job. */
  watchExit() {
    const { events } = this
    /** @type {{ reason: unknown } | undefined} */
    let rejected
    events.on('uncaughtExceptionMonitor', (error) => {
      // Node's own error for a reason that is no Error has only the name of its class.
      const isNodes = /** @type {any} */ (error)?.code === 'ERR_UNHANDLED_REJECTION'
      this.#uncaught = { error: isNodes && rejected ? rejected.reason : error }
    })
    const { emit } = events
    const value = (/** @type {string} */ name, /** @type {unknown[]} */ ...args) => {
      if (name === 'unhandledRejection') rejected = { reason: args[0] }
      try {
        return apply(emit, events, [name, ...args])
      } finally {
        if (name === 'exit') this.exit(Number(process.exitCode ?? args[0] ?? 0))
      }
    }
    defineProperty(events, 'emit', { value, configurable: true, writable: true })
  }

  /** Reports the end; later ends are ignored. @param {Record<string, unknown>} meta @param {string} text */
  end(meta, text = '') {
    if (this.#ended) return
    this.#ended = true
    this.#hasFailed = meta.status !== 'ok'
    const artifactsLeftOut = this.#sendArtifacts()
    const { user, system } = this.#cpuBefore ? cpuUsage(this.#cpuBefore) : { user: 0, system: 0 }
    const head = {
      protocol: 1,
      encoding: 'json',
      ...meta,
      cpuTimeMs: (user + system) / 1000 + this.#childrenMs(),
      executionMs: this.#released ? Number(hrtime() - this.#released) / 1e6 : 0,
      ...this.#memory(),
      artifactsLeftOut,
    }
    this.#report(KIND.end, `${stringify(head)}\n${text}`)
    if (this.task.stays) stay()
  }

  /** @param {unknown} value */
  succeed(value) {
    try {
      const result = resultOf(value, this.task.resultBytesMax, this.#settings.work)
      if (has(result, 'code')) this.end({ status: 'error', error: result })
      else this.end({ status: 'ok', encoding: result.encoding }, result.text)
    } catch (error) {
      this.fail(error)
    }
  }

  /** @param {unknown} error */
  fail(error) {
    this.end({ status: 'error', error: this.#errorOf(error) })
  }

  /** End of a program that exited by itself. @param {number} code @param {string} [signal] */
  exit(code, signal) {
    if (this.#uncaught && code !== 0) {
      const error = this.#errorOf(this.#uncaught.error)
      // Node prints an uncaught error after the event, and exits.
      return this.end({ status: 'error', exitCode: code, error, exits: true })
    }
    if (signal) {
      const error = { code: 'EXIT', message: `The program was ended by ${signal}` }
      return this.end({ status: 'error', signal, error })
    }
    if (code !== 0) {
      const error = { code: 'EXIT', message: `The program exited with ${code}` }
      return this.end({ status: 'error', exitCode: code, error })
    }
    this.#finishProgram()
  }

  /** Reports how one call of a batch ended. @param {() => Promise<unknown>} call @param {number} room bytes */
  async answer(call, room) {
    const began = hrtime()
    try {
      const result = resultOf(await call(), room, this.#settings.work)
      if (has(result, 'code')) this.#answered(began, { status: 'error', error: result })
      else {
        this.#answered(began, { status: 'ok', encoding: result.encoding }, result.text)
        return result.text.length
      }
    } catch (error) {
      this.#answered(began, { status: 'error', error: this.#errorOf(error) })
    }
    return 0
  }

  #finishProgram() {
    const { text, error } = writtenResult(this.#settings, this.task.resultBytesMax)
    if (error) return this.end({ status: 'error', exitCode: 0, error })
    if (text === '' && this.exported.has) return this.#giveExported()
    this.end({ status: 'ok', exitCode: 0 }, text === '' ? 'null' : text)
  }

  /** If no module entry was requested, an exported class or server is no failure of the program. */
  #giveExported() {
    const { resultBytesMax, isEntryGuessed } = this.task
    try {
      const result = resultOf(this.exported.value, resultBytesMax, this.#settings.work)
      if (!has(result, 'code'))
        return this.end({ status: 'ok', exitCode: 0, encoding: result.encoding }, result.text)
      if (!isEntryGuessed) return this.end({ status: 'error', exitCode: 0, error: result })
    } catch (error) {
      if (!isEntryGuessed) return this.fail(error)
    }
    this.end({ status: 'ok', exitCode: 0 }, 'null')
  }

  #sendArtifacts() {
    const { work } = this.#settings
    if (!work || !this.#known) return []
    const send = (/** @type {string} */ place, /** @type {Uint8Array} */ bytes) =>
      this.#report(KIND.artifact, `${stringify({ path: place, size: bytes.length })}\n`, bytes)
    return gatherArtifacts(work, this.task.artifactBytesMax, send, this.#known)
  }

  /** @param {bigint} began @param {Record<string, unknown>} meta @param {string} text */
  #answered(began, meta, text = 'null') {
    const executionMs = Number(hrtime() - began) / 1e6
    const head = { protocol: 1, encoding: 'json', ...meta, executionMs }
    this.#report(KIND.answered, `${stringify(head)}\n${text}`)
  }

  /** Peaks of memory since the release; none if the job broke the intrinsics. */
  #memory() {
    try {
      const before = this.#memoryBefore
      return before && { peakBytes: peakSince(before), childPeakBytes: childrenPeakBytes() }
    } catch {
      return undefined
    }
  }

  /** Returns 0 if the job broke the intrinsics, which must not prevent its end. */
  #childrenMs() {
    try {
      return childrenCpuMs() - childrenBefore
    } catch {
      return 0
    }
  }

  /** @param {unknown} error */
  #errorOf(error) {
    return errorOf(error, { work: this.#settings.work ?? '/', main: this.main })
  }

  /** @type {SendFrame} */
  #report(kind, text, bytes) {
    const { send: sendFrame } = this.#outside
    sendFrame(kind, text, bytes)
  }
}

/**
 * Result that a program wrote, '' if none. @param {Settings} settings @param {number} bytesMax
 * @returns {{ text: string, error: { code: string, message: string } | undefined }}
 */
export function writtenResult(settings, bytesMax) {
  const text = readResult(settings, bytesMax)
  if (text === undefined) {
    const message = 'Cannot return the result: it takes more bytes than this job may return'
    return { text: '', error: { code: 'RESULT_TOO_LARGE', message } }
  }
  if (text === '' || isJson(text)) return { text, error: undefined }
  const message = 'Cannot return the result: what the program wrote as its result is no JSON'
  return { text: '', error: { code: 'RESULT_NOT_JSON', message } }
}

/** Reports the end of a job that could not start. @param {Job} job @param {any} error */
export function finishWith(job, error) {
  if (!DISK_CODES.includes(error?.code)) return job.fail(error)
  const message = 'The files of the job take more space than it may use'
  job.end({ status: 'limit', error: { code: 'DISK', message } })
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

import { KIND } from '../kinds.js'

/** Longest output in one frame. */
const CHUNK_CHARS_MAX = 16_384
const ERROR_CHARS_MAX = 16_384
/** Maximum the server accepts. */
const ARGS_BYTES_MAX = 4 * 2 ** 20
/** Limit of reported denials of a job, or of a cell of a session: enough to distinguish an error from probing. */
const REPORTED_DENIED_MAX = 200

/** Gives up the fetch with the same number. */
const FORGET = 'mayfly.forget'

/** @typedef {import('./job.js').End} End */

/**
 * Frames of the jobs of a process whose jobs run in cells, one at a time: output, calls with their replies, and ends. Shared by the
 * isolate worker and the runner of Node.
 */
export class CellFrames {
  #send
  /** @type {Map<number, { resolve: (text: string) => void, reject: (error: Error) => void }>} */
  #calls = new Map()
  #callId = 0

  /** @param {(kind: number, text: string) => void} send */
  constructor(send) {
    this.#send = send
  }

  /** Hooks of a job: they send what it prints, calls and is refused. */
  listeners() {
    return {
      stdout: (/** @type {string} */ text) => this.#sendText(KIND.stdout, text),
      stderr: (/** @type {string} */ text) => this.#sendText(KIND.stderr, text),
      call: (
        /** @type {string} */ name,
        /** @type {string} */ argsText,
        /** @type {AbortSignal} [stop] */ stop,
      ) => this.#call(name, argsText, stop),
      denied: this.#denials(),
      refused: (/** @type {string} */ name, /** @type {string} [module] */ module) =>
        this.#send(KIND.refused, JSON.stringify({ name, module })),
      answered: (/** @type {import('./job.js').Answer} */ { resultText, error, ...meta }) =>
        this.headed(KIND.answered, { ...meta, error }, resultText),
    }
  }

  /** Hooks of a session: those of a job, and the ends of its execs and of itself. */
  sessionListeners() {
    return {
      ...this.listeners(),
      released() {},
      ended: (/** @type {Record<string, unknown> & { text: string }} */ { text, ...report }) =>
        this.headed(KIND.execEnd, report, text),
      over: (/** @type {{ status: string, error?: object }} */ { status, error }) => {
        const cost = { cpuTimeMs: 0, executionMs: 0, poisoned: true }
        this.headed(KIND.end, { status, encoding: 'json', ...cost, error }, 'null')
      },
    }
  }

  /** Sends the end of a job, and forgets its calls. @param {End} end */
  end({ resultText, error, ...meta }) {
    this.headed(KIND.end, { ...meta, error }, resultText)
    this.#calls.clear()
  }

  /** Sends a JSON head, with the error truncated, followed by a text. @param {number} kind @param {any} head @param {string} text */
  headed(kind, { error, ...head }, text) {
    const whole = { protocol: 1, ...head, ...(error && { error: clipped(error) }) }
    this.#send(kind, `${JSON.stringify(whole)}\n${text}`)
  }

  /** Settles the call that the server answers. @param {{ id: number, text?: string, error?: string }} reply */
  reply({ id, text, error }) {
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    if (error !== undefined) call?.reject(new Error(error))
    else call?.resolve(text ?? 'null')
  }

  /**
   * Calls the server; after an abort of `stop` it answers at once.
   * @param {string} name @param {string} argsText @param {AbortSignal} [stop] @returns {Promise<string>}
   */
  #call(name, argsText, stop) {
    if (Buffer.byteLength(argsText) > ARGS_BYTES_MAX)
      return Promise.reject(
        new RangeError(`Cannot call "${name}": the arguments are larger than 4 MiB`),
      )
    const id = ++this.#callId
    const { promise, resolve, reject } = Promise.withResolvers()
    this.#calls.set(id, { resolve, reject })
    this.#send(KIND.call, `${JSON.stringify({ id, name })}\n${argsText}`)
    const forget = () => {
      if (this.#calls.has(id))
        this.#send(KIND.call, `${JSON.stringify({ id, name: FORGET })}\nnull`)
    }
    stop?.addEventListener('abort', forget, { once: true })
    return promise
  }

  /**
   * Reports capability calls refused here to the server, without their arguments; it refuses them too, and
   * records them.
   */
  #denials() {
    /** Number of denials by cell. @type {Map<number, number>} */
    const denied = new Map()
    return (/** @type {string} */ name, cell = 0) => {
      const count = (denied.get(cell) ?? 0) + 1
      denied.set(cell, count)
      if (count <= REPORTED_DENIED_MAX)
        this.#send(KIND.call, `${JSON.stringify({ id: ++this.#callId, name })}\nnull`)
    }
  }

  /** In chunks. @param {number} kind @param {string} text */
  #sendText(kind, text) {
    for (let at = 0; at < text.length; at += CHUNK_CHARS_MAX)
      this.#send(kind, text.slice(at, at + CHUNK_CHARS_MAX))
  }
}

/**
 * V8 quotes the source in some errors: for example a regular expression of 100 KB in full. @param
 * {Record<string, unknown>} error
 */
function clipped(error) {
  const short = (/** @type {unknown} */ value) =>
    typeof value === 'string' ? value.slice(0, ERROR_CHARS_MAX) : value
  return Object.fromEntries(Object.entries(error).map(([key, value]) => [key, short(value)]))
}

/** Kernel of language `node`, on the manager's side; the other half is kernel-node.js. */
import { spawn } from 'node:child_process'
import path from 'node:path'
import { readFrames } from '../frames.js'
import { parseJson } from '../parse-json.js'
import { interruptYounger } from './processes.js'
import { fileOfExec, forgetFile, Kernel } from './session-kernel.js'
import { KIND } from '../kinds.js'
import { FRAME_BYTES_MAX } from './wire.js'

const HEAD_BYTES_MAX = 256 * 1024
const TEXT_CHARS_MAX = 64 * 1024
const CODE_CHARS_MAX = 40
const ENCODINGS = ['json', 'tagged', 'text']

/** @typedef {import('./session-kernel.js').Cell} Cell */
/** @typedef {import('./session-kernel.js').CellEnd} CellEnd */
/** @typedef {import('./session-kernel.js').CellError} CellError */
/** @typedef {import('./session-kernel.js').Setting} Setting */

export class NodeKernel extends Kernel {
  #tmp
  /** @type {import('node:net').Socket} */
  #cells
  /** @type {import('node:net').Socket} */
  #interrupts
  #sequence = 0

  /** @param {Setting} setting */
  constructor({ work, tmp, args, flags, typed, hooks, memoryBytes }) {
    const program = path.join(import.meta.dirname, 'kernel-node.js')
    // A terminated callback leaves an extra entry on the stack of async hooks; with the check on, Node would abort.
    const own = [...flags, '--no-force-async-hooks-checks', program]
    const settings = JSON.stringify({ work, typed, hooks, args, memoryBytes })
    super(
      spawn(process.execPath, [...own, settings], {
        cwd: work,
        detached: true,
        stdio: ['ignore', 1, 2, 3, 'pipe', 'pipe'],
      }),
    )
    this.#tmp = tmp
    const streams = /** @type {any[]} */ (this.child.stdio ?? [])
    this.#cells = streams[4]
    this.#interrupts = streams[5]
    if (!this.#cells) return
    readFrames(this.#cells, (kind, payload) => this.#take(kind, payload), FRAME_BYTES_MAX)
    // A frame over the bound destroys the stream: nothing more can be read from this kernel.
    this.#cells.on('close', () => this.kill())
  }

  /** @param {Cell} cell */
  run({ stdin, ...cell }) {
    const ended = this.begin()
    this.#sequence = cell.sequence
    const input = stdin === undefined ? undefined : fileOfExec(this.#tmp, 'stdin', stdin)
    void ended.then(() => forgetFile(input))
    const sent = { ...cell, nonce: this.nonce, ...(input !== undefined && { stdin: input }) }
    this.#cells.write(frameOf(KIND.exec, JSON.stringify(sent)))
    return ended
  }

  async renew() {
    const renewed = this.awaitReady()
    this.#cells.write(frameOf(KIND.forked, '{}'))
    return await renewed
  }

  interrupt() {
    this.#interrupts.write(`${this.#sequence}\n`)
    interruptYounger(this.pid, this.began)
  }

  /** @param {number} kind @param {Buffer} payload */
  #take(kind, payload) {
    if (kind === KIND.released) return this.sayReady()
    const cut = payload.indexOf(10)
    if (kind !== KIND.end || cut < 0 || cut > HEAD_BYTES_MAX) return this.kill()
    const head = recordOf(payload.subarray(0, cut))
    if (!head) return this.kill()
    this.end(head.nonce, () => endOf(head, payload.toString('utf8', cut + 1)))
  }
}

/** @param {Record<string, unknown>} head @param {string} text @returns {CellEnd} */
function endOf({ status, encoding, partial, error, cpuTimeMs, peakBytes }, text) {
  const isEncoding = typeof encoding === 'string' && ENCODINGS.includes(encoding)
  const isTime = typeof cpuTimeMs === 'number' && cpuTimeMs >= 0 && Number.isFinite(cpuTimeMs)
  const base = {
    encoding: isEncoding ? encoding : 'text',
    cpuTimeMs: isTime ? cpuTimeMs : 0,
    ...(Number.isSafeInteger(peakBytes) && { peakBytes: Math.max(0, Number(peakBytes)) }),
  }
  if (status === 'ok') return { status, ...base, ...(partial === true && { partial }), text }
  return { status: 'error', ...base, text: 'null', encoding: 'json', error: errorOf(error) }
}

/** @param {unknown} reported @returns {CellError} */
function errorOf(reported) {
  const { code, name, message, stack } = /** @type {Record<string, unknown>} */ (reported ?? {})
  const text = (/** @type {unknown} */ value, max = TEXT_CHARS_MAX) =>
    typeof value === 'string' ? value.slice(0, max) : undefined
  const own = { name: text(name), stack: text(stack) }
  return { code: text(code, CODE_CHARS_MAX) ?? 'USER_ERROR', message: text(message) ?? '', ...own }
}

/** @param {Buffer} bytes @returns {Record<string, unknown> | undefined} */
function recordOf(bytes) {
  try {
    const read = parseJson(bytes.toString())
    return typeof read === 'object' && read !== null
      ? /** @type {Record<string, unknown>} */ (read)
      : undefined
  } catch {
    return undefined
  }
}

/** @param {number} kind @param {string} text */
function frameOf(kind, text) {
  const body = Buffer.from(text)
  const head = Buffer.alloc(5)
  head.writeUInt32LE(body.length + 1, 0)
  head[4] = kind
  return Buffer.concat([head, body])
}

/**
 * Kernels of a session, on the manager's side: processes with their own POSIX session and process group, which evaluate one
 * cell at a time. Their messages are bounded and parsed as hostile input. A reported end needs the nonce of the running cell,
 * so that code left behind by an earlier cell cannot end a later one by accident.
 */
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { lastPid, signal } from './processes.js'

/** Limit for a wall that boots a kernel: the host bounds other walls sooner. */
const START_MS_MAX = 60_000
const LAST_MESSAGE_MS = 5
/** Messages without a known nonce that a kernel may send between two ends. */
const STRAYS_MAX = 1000

/** @typedef {{ code: string, name?: string, message: string, stack?: string }} CellError */
/** @typedef {{ status: 'ok' | 'error', encoding: string, partial?: true, text: string, error?: CellError, exitCode?: number, signal?: string, cpuTimeMs: number, peakBytes?: number }} CellEnd */
/** @typedef {{ name: string, sequence: number, code: string, inputText?: string, stdin?: Buffer | string, env?: Record<string, string>, resultBytesMax: number }} Cell */
/** @typedef {{ work: string, tmp: string, args: string[], flags: string[], typed: boolean, hooks: boolean, language: string, memoryBytes?: number, settings: import('./ground.js').Settings }} Setting */
/** @typedef {{ code: number | null, signal: string | null }} Exit */

/**
 * Writes a file for one exec, in a folder with a random name: at a predictable path an earlier cell could have created a
 * FIFO, whose open would block the manager forever. @param {string} tmp @param {string} name @param {Uint8Array | string} content
 */
export function fileOfExec(tmp, name, content) {
  const folder = fs.mkdtempSync(path.join(tmp, '.mayfly-'))
  const place = path.join(folder, name)
  try {
    fs.writeFileSync(place, content, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    forgetFile(place)
    throw error
  }
  return place
}

/** Deletes a file of an exec, with its folder. @param {string | undefined} place */
export function forgetFile(place) {
  if (place !== undefined) fs.rmSync(path.dirname(place), { recursive: true, force: true })
}

/** Base class of both kinds: one process, its exit, and the cell that it evaluates. */
export class Kernel {
  /** @type {import('node:child_process').ChildProcess} */
  child
  /** Resolves when the process has ended. @type {Promise<Exit>} */
  gone
  isGone = false
  #strays = 0
  /** @type {((end: CellEnd | undefined) => void) | undefined} */
  #end
  #nonce = ''
  #beganMs = 0
  #lastPid = 0
  /** @type {() => void} */
  #nowReady = () => undefined
  /** @type {Promise<void>} */
  ready

  /** @param {import('node:child_process').ChildProcess} child */
  constructor(child) {
    this.child = child
    // At EMFILE or ENFILE the child has no streams.
    for (const stream of child.stdio ?? []) stream?.on('error', () => undefined)
    this.ready = new Promise((resolve) => {
      this.#nowReady = resolve
    })
    this.gone = new Promise((resolve) => {
      child.once('error', () => resolve({ code: null, signal: null }))
      child.once('exit', (code, name) => {
        this.isGone = true
        // Waits for a last message in the pipe.
        setTimeout(() => resolve({ code, signal: name }), LAST_MESSAGE_MS)
      })
    })
    void this.gone.then(() => this.#leave())
  }

  /** The group's leader; 0 if it was never started. */
  get pid() {
    return this.child.pid ?? 0
  }

  get nonce() {
    return this.#nonce
  }

  /** Start of the cell, to distinguish its processes from older ones. */
  get began() {
    return { ageMs: performance.now() - this.#beganMs, pid: this.#lastPid }
  }

  /** Resolves with true once it accepts cells; with false if it does not start. */
  async hasStarted() {
    const late = new Promise((resolve) => void setTimeout(resolve, START_MS_MAX, false).unref())
    const isReady = await Promise.race([
      this.ready.then(() => true),
      this.gone.then(() => false),
      late,
    ])
    if (!isReady) this.kill()
    return isReady === true
  }

  sayReady() {
    this.#nowReady()
  }

  /** Waits for the next `sayReady`. */
  awaitReady() {
    this.ready = new Promise((resolve) => {
      this.#nowReady = resolve
    })
    return this.hasStarted()
  }

  /** Draws the random values of a forked machine anew; resolves with false if that failed. @returns {Promise<boolean>} */
  async renew() {
    return true
  }

  /** Resolves with undefined when the process ends before the cell. @returns {Promise<CellEnd | undefined>} */
  begin() {
    this.#nonce = randomUUID()
    this.#strays = 0
    this.#beganMs = performance.now()
    this.#lastPid = lastPid()
    return new Promise((resolve) => {
      this.#end = resolve
      if (this.isGone) void this.gone.then(() => this.#leave())
    })
  }

  #leave() {
    this.isGone = true
    this.#finish(undefined)
  }

  /** @param {unknown} nonce @param {() => CellEnd} read */
  end(nonce, read) {
    if (nonce !== this.#nonce || this.#end === undefined) return this.stray()
    this.#finish(read())
  }

  /** Counts a message that belongs to no cell; too many of them end the kernel. */
  stray() {
    if (++this.#strays > STRAYS_MAX) this.kill()
  }

  kill() {
    if (this.pid > 0) signal(-this.pid, 'SIGKILL')
    this.child.kill('SIGKILL')
  }

  /** @param {CellEnd | undefined} end */
  #finish(end) {
    const finish = this.#end
    this.#end = undefined
    finish?.(end)
  }
}

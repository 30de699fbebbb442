/**
 * Terminals of a session of Node or a shell, on the manager's side. See mayfly_terminal.py for the design: frames, window and
 * end are the same. Node cannot start a child with a controlling terminal, so the program is started by a shell that is a
 * session leader and opens the slave. The ioctls of the master are made through node:ffi.
 */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import tty from 'node:tty'
import { duplicate, foregroundOf, resizeTerminal, unlockTerminal } from '../../src/os/libc.js'
import { parseJson } from '../parse-json.js'
import { killSession, signal, signalSession } from './processes.js'
import { KIND } from '../kinds.js'
import { send } from './wire.js'

const TERMINALS_MAX = 4
const WINDOW_BYTES = 262_144
const CHUNK_BYTES = 16_384
/** Received bytes after which the window is acknowledged to the sender. */
const ACK_BYTES = 16_384
const HANG_UP_MS = 1000
/** Attempts to kill a session that forks on, a second apart. */
const KILL_ATTEMPTS_MAX = 5
/** Wait for the last output of an exited program if another process keeps the slave open. */
const DRAIN_MS = 250
const WRITE_AGAIN_MS = 10
const POLL_MS = 30
const POLL_MS_MAX = 500
const { O_RDWR, O_NOCTTY, O_NONBLOCK } = fs.constants
const FULL = `Cannot open a terminal: the session has ${TERMINALS_MAX} already`
/** Variables for programs without a terminal, by src/contract/default-variables.ts. @type {Record<string, string>} */
const UNATTENDED = {
  GIT_TERMINAL_PROMPT: '0',
  GIT_EDITOR: 'false',
  GIT_SEQUENCE_EDITOR: 'false',
  PAGER: 'cat',
}
/** Opening a terminal makes it the controlling one of a session that has none. */
const TAKES_TERMINAL = 'exec <>"$0" && exec "$@"'

/** @typedef {{ command: string | string[], cols: number, rows: number, term: string, env?: Record<string, string> }} Asked */
/** @typedef {{ id: string, open?: Asked, resize?: { cols: number, rows: number }, signal?: NodeJS.Signals, taken?: number, close?: true }} Order */
/** @typedef {{ work: string, remember: (leader: number) => void }} Parts */

export class Terminals {
  #parts
  /** @type {Map<string, Terminal>} */
  #open = new Map()

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts
  }

  /** @param {Buffer} payload */
  ordered(payload) {
    const order = /** @type {Order} */ (parseJson(payload.toString()))
    if (order.open) return this.#begin(order.id, order.open)
    // Race: the terminal may have ended while the order was in flight.
    const terminal = this.#open.get(order.id)
    if (!terminal) return
    if (order.resize) terminal.resize(order.resize)
    else if (order.signal) terminal.signal(order.signal)
    else if (order.taken !== undefined) terminal.given(order.taken)
    else terminal.close()
  }

  /** @param {Buffer} payload */
  typed(payload) {
    const cut = payload.indexOf(10)
    const { id } = /** @type {{ id: string }} */ (parseJson(payload.toString('utf8', 0, cut)))
    this.#open.get(id)?.type(payload.subarray(cut + 1))
  }

  /** @param {string} id @param {Asked} asked */
  #begin(id, asked) {
    try {
      if (this.#open.size >= TERMINALS_MAX) throw new Error(FULL)
      const terminal = new Terminal(id, asked, this.#parts.work, () => this.#open.delete(id))
      this.#open.set(id, terminal)
      this.#parts.remember(terminal.pid)
      note(id, { opened: true })
    } catch (error) {
      note(id, { error: { message: /** @type {Error} */ (error).message.slice(0, 200) } })
    }
  }
}

class Terminal {
  #id
  #over
  /** -1 once it is closed. */
  #master
  #stream
  /** @type {Buffer[]} */
  #pending = []
  #taken = 0
  #inFlight = 0
  /** True after the stream has ended: remaining output is read from the master. */
  #isHungUp = false
  #isRead = false
  /** @type {{ exitCode: number } | { signal: string } | undefined} */
  #ended
  /** @type {NodeJS.Timeout | undefined} */
  #draining
  /** @type {NodeJS.Timeout | undefined} */
  #pollTimer
  pid = 0

  /** @param {string} id @param {Asked} asked @param {string} work @param {() => void} over */
  constructor(id, asked, work, over) {
    this.#id = id
    this.#over = over
    this.#master = fs.openSync('/dev/ptmx', O_RDWR | O_NOCTTY | O_NONBLOCK)
    try {
      this.#start(asked, work)
      this.#stream = new tty.ReadStream(duplicate(this.#master))
    } catch (error) {
      if (this.pid > 0) signal(-this.pid, 'SIGKILL')
      fs.closeSync(this.#master)
      throw error
    }
    this.#stream.on('data', (chunk) => {
      this.#print(chunk)
      this.#pollSoon()
    })
    // EIO: the last descriptor of the slave was closed.
    this.#stream.on('error', () => undefined)
    this.#stream.on('close', () => this.#readRest())
  }

  /** @param {Asked} asked @param {string} work */
  #start({ command, cols, rows, term, env }, work) {
    const place = `/dev/pts/${unlockTerminal(this.#master)}`
    resizeTerminal(this.#master, cols, rows)
    const words = typeof command === 'string' ? ['/bin/sh', '-c', command] : command
    const slave = fs.openSync(place, O_RDWR | O_NOCTTY)
    try {
      const child = spawn('/bin/sh', ['-c', TAKES_TERMINAL, place, ...words], {
        cwd: work,
        env: { ...attended(process.env), TERM: term, HISTFILE: '', ...env },
        detached: true,
        stdio: [slave, slave, slave],
      })
      child.once('error', () => undefined)
      child.once('exit', (code, name) =>
        this.#exited(name ? { signal: name } : { exitCode: code ?? 1 }),
      )
      if (!child.pid) throw new Error('Cannot open a terminal: no process can be started')
      this.pid = child.pid
    } finally {
      fs.closeSync(slave)
    }
  }

  /** @param {{ cols: number, rows: number }} size */
  resize({ cols, rows }) {
    if (this.#master >= 0) resizeTerminal(this.#master, cols, rows)
  }

  /** To the foreground, as from the keyboard. @param {NodeJS.Signals} name */
  signal(name) {
    const group = this.#master >= 0 ? foregroundOf(this.#master) : 0
    signal(-(group > 0 ? group : this.pid), name)
  }

  /** @param {number} bytes */
  given(bytes) {
    this.#inFlight -= bytes
    if (this.#inFlight >= WINDOW_BYTES || this.#master < 0) return
    if (this.#isHungUp) return this.#readRest()
    this.#stream?.resume()
    if (this.#ended) this.#drain()
  }

  /** @param {Buffer} bytes */
  type(bytes) {
    this.#pending.push(bytes)
    this.#pollSoon()
    if (this.#pending.length === 1) this.#write()
  }

  close() {
    if (this.#master < 0) return
    this.#release()
    this.#hangUp()
    this.#read()
  }

  #release() {
    if (this.#master < 0) return
    clearTimeout(this.#pollTimer)
    fs.closeSync(this.#master)
    this.#master = -1
    this.#stream?.destroy()
  }

  /**
   * Polls the master: gVisor sometimes loses its events, and epoll waits although data is readable. The interval doubles at
   * each empty read.
   */
  #pollSoon(ms = POLL_MS) {
    if (ms === POLL_MS) clearTimeout(this.#pollTimer)
    this.#pollTimer = setTimeout(() => {
      if (this.#master < 0 || this.#isHungUp || this.#inFlight >= WINDOW_BYTES) return
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
      try {
        const count = fs.readSync(this.#master, chunk)
        if (count === 0) return
        this.#print(chunk.subarray(0, count))
        this.#pollSoon()
      } catch (error) {
        // Not EIO: the stream reports that as well.
        if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EAGAIN')
          this.#pollSoon(Math.min(ms * 2, POLL_MS_MAX))
      }
    }, ms)
  }

  /**
   * Reads until EIO. libuv treats POLLHUP after a short read as the end of the stream, but a master returns at most 4 KiB for
   * each read, so output may remain.
   */
  #readRest() {
    this.#isHungUp = true
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    try {
      while (this.#master >= 0 && this.#inFlight < WINDOW_BYTES) {
        const count = fs.readSync(this.#master, chunk)
        if (count === 0) return this.#read()
        this.#print(chunk.subarray(0, count))
      }
    } catch {
      this.#read()
    }
  }

  /** @param {Buffer} chunk */
  #print(chunk) {
    const head = `${JSON.stringify({ id: this.#id })}\n`
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES)
      send(KIND.terminalOutput, head, chunk.subarray(at, at + CHUNK_BYTES))
    this.#inFlight += chunk.length
    if (this.#inFlight < WINDOW_BYTES) return
    // Back-pressure: a slow reader gets all of the output.
    this.#stream?.pause()
    clearTimeout(this.#draining)
  }

  #write() {
    try {
      for (let first = this.#pending[0]; first && this.#master >= 0; first = this.#pending[0]) {
        const count = fs.writeSync(this.#master, first)
        this.#taken += count
        if (count < first.length) this.#pending[0] = first.subarray(count)
        else this.#pending.shift()
      }
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EAGAIN')
        setTimeout(() => this.#write(), WRITE_AGAIN_MS)
      else this.#drop()
    }
    if (this.#taken < ACK_BYTES && (this.#pending.length > 0 || this.#taken === 0)) return
    note(this.#id, { taken: this.#taken })
    this.#taken = 0
  }

  #drop() {
    for (const bytes of this.#pending.splice(0)) this.#taken += bytes.length
  }

  /** @param {{ exitCode: number } | { signal: string }} ended */
  #exited(ended) {
    if (this.#ended) return
    this.#ended = ended
    this.#hangUp()
    if (this.#isRead) this.#finish()
    else if (this.#inFlight < WINDOW_BYTES) this.#drain()
  }

  #drain() {
    clearTimeout(this.#draining)
    this.#draining = setTimeout(() => this.#read(), DRAIN_MS)
  }

  /** Stops reading. */
  #read() {
    if (this.#isRead) return
    this.#isRead = true
    if (this.#ended) this.#finish()
  }

  #finish() {
    clearTimeout(this.#draining)
    this.#release()
    this.#drop()
    this.#over()
    note(this.#id, { ended: this.#ended })
  }

  #hangUp() {
    const { pid } = this
    for (const name of /** @type {const} */ (['SIGHUP', 'SIGCONT'])) signalSession(pid, name)
    this.#killLater()
  }

  #killLater(attempt = 1) {
    setTimeout(() => {
      if (!killSession(this.pid) && attempt < KILL_ATTEMPTS_MAX) this.#killLater(attempt + 1)
    }, HANG_UP_MS)
  }
}

/** @param {string} id @param {Record<string, unknown>} what */
function note(id, what) {
  send(KIND.terminalNote, JSON.stringify({ protocol: 1, id, ...what }))
}

/** @param {NodeJS.ProcessEnv} env */
function attended(env) {
  return Object.fromEntries(
    Object.entries(env).filter(([name, value]) => UNATTENDED[name] !== value),
  )
}

/**
 * Manager of a session: a wall that stays open and runs one exec after another. It runs in the parked runner's process and
 * loads no user code. A kernel, a separate process, evaluates cells and keeps variables, imports and background work between
 * execs; a command is a separate process as well. A kernel that exits, floods the manager or does not answer an interrupt
 * within a second is replaced by a new one, and the exec reports that its state is lost.
 */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import { childrenCpuMs } from '../../src/os/libc.js'
import { readFrames } from '../frames.js'
import { parseJson } from '../parse-json.js'
import { gatherChanged, standingFiles } from './artifacts.js'
import { killSessions, signal } from './processes.js'
import { serveFile } from './session-files.js'
import { fileOfExec, forgetFile } from './session-kernel.js'
import { NodeKernel } from './session-node.js'
import { ShellKernel } from './session-shell.js'
import { Terminals } from './session-terminals.js'
import { isShell } from './shell.js'
import { KIND } from '../kinds.js'
import { CONTROL_FD, FRAME_BYTES_MAX, send } from './wire.js'

/** Time limit for a kernel or command to react to an interrupt; then it is killed. */
const ANSWER_MS = 1000
/** Limit of POSIX sessions that are recorded, to be killed at the end. */
const SESSIONS_MAX = 1000
const INTERRUPTED = { code: 'INTERRUPTED', message: 'The exec was interrupted' }
const NO_KERNEL = { code: 'FAILED', message: 'Cannot start the interpreter of the session' }

/** @typedef {{ id: string, code?: string, command?: string | string[], inputText?: string, stdin?: { content: string, encoding: BufferEncoding }, env?: Record<string, string>, resultBytesMax: number, artifactBytesMax: number }} Exec */
/** @typedef {import('./session-kernel.js').CellEnd} CellEnd */
/** @typedef {Partial<CellEnd> & { status: 'ok' | 'error', state: 'kept' | 'lost' }} ExecEnd */
/** @typedef {{ id: string, isInterrupted: boolean, interrupt: () => void }} Running */

export class SessionManager {
  #task
  #settings
  #flags
  #work
  #hooks = false
  /** @type {NodeKernel | ShellKernel | undefined} */
  #kernel
  /** True if a kernel exited since the last exec of code. */
  #hasLost = false
  /** @type {Running | undefined} */
  #running
  #cells = 0
  /** Leaders of POSIX sessions, oldest first. @type {Set<number>} */
  #sessions = new Set()
  #terminals

  /** @param {import('./ground.js').Task} task @param {import('./ground.js').Settings} settings @param {string[]} flags of the interpreter */
  constructor(task, settings, flags) {
    this.#task = task
    this.#settings = settings
    this.#flags = flags
    this.#work = settings.work ?? '/'
    const remember = (/** @type {number} */ leader) => this.#remember(leader)
    this.#terminals = new Terminals({ work: this.#work, remember })
  }

  /** Resolves once it accepts frames; runs until the server closes the socket. @param {boolean} hooks files of the task may be TypeScript */
  async serve(hooks) {
    this.#hooks = hooks
    if (!(await this.#start())) throw new Error(NO_KERNEL.message)
    sayReleased()
    const socket = new net.Socket({ fd: CONTROL_FD })
    socket.on('error', () => undefined)
    socket.on('close', () => this.#end())
    readFrames(socket, (kind, payload) => this.#take(kind, payload), FRAME_BYTES_MAX)
  }

  /** @param {number} kind @param {Buffer} payload */
  #take(kind, payload) {
    if (kind === KIND.exec) void this.#exec(/** @type {Exec} */ (parseJson(payload.toString())))
    else if (kind === KIND.interrupt) this.#interrupt(payload)
    else if (kind === KIND.file) this.#file(payload)
    else if (kind === KIND.terminal) this.#terminals.ordered(payload)
    else if (kind === KIND.terminalInput) this.#terminals.typed(payload)
    else if (kind === KIND.forked) void this.#forked()
    else this.#end()
  }

  /** Called in the copy of a machine that was forked. A kernel that does not answer is gone, with its state. */
  async #forked() {
    const kernel = this.#kernel
    if (kernel && !kernel.isGone && !(await kernel.renew())) await kernel.gone
    sayReleased()
  }

  #end() {
    killSessions(this.#sessions)
    process.reallyExit(0)
  }

  /** @param {Buffer} payload */
  #file(payload) {
    const cut = payload.indexOf(10)
    const end = cut < 0 ? payload.length : cut
    const request = /** @type {any} */ (parseJson(payload.toString('utf8', 0, end)))
    const { bytes, ...answer } = serveFile(this.#work, request, payload.subarray(end + 1))
    send(KIND.filed, `${JSON.stringify({ protocol: 1, id: request.id, ...answer })}\n`, bytes)
  }

  /** @param {Buffer} payload */
  #interrupt(payload) {
    const { id } = /** @type {{ id: string }} */ (parseJson(payload.toString()))
    const running = this.#running
    if (running === undefined || running.id !== id || running.isInterrupted) return
    running.isInterrupted = true
    running.interrupt()
  }

  /** @param {Exec} exec */
  async #exec(exec) {
    if (this.#running) return this.#end()
    const running = { id: exec.id, isInterrupted: false, interrupt: () => undefined }
    this.#running = running
    const known = standingFiles(this.#work)
    const began = performance.now()
    const end = await this.#endOf(exec, running)
    const executionMs = performance.now() - began
    this.#running = undefined
    this.#report(exec, end, executionMs, known)
  }

  /** Never rejects: a full disk or a failed fork ends only that exec. @param {Exec} exec @param {Running} running @returns {Promise<ExecEnd>} */
  async #endOf(exec, running) {
    try {
      if (exec.command !== undefined) return await this.#command(exec, running)
      const end = await this.#cell(exec, running)
      if (running.isInterrupted && end.status === 'error') end.error = INTERRUPTED
      return end
    } catch (error) {
      const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
      const isDisk = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG'
      const failure = {
        code: isDisk ? 'DISK' : 'FAILED',
        message: `Cannot run the exec: ${message}`,
      }
      return { status: 'error', error: failure, state: this.#kernel?.isGone ? 'lost' : 'kept' }
    }
  }

  /** @param {Exec} exec @param {ExecEnd} end @param {number} executionMs @param {import('./artifacts.js').Known} known */
  #report(exec, { text = 'null', ...end }, executionMs, known) {
    const give = (/** @type {string} */ place, /** @type {Uint8Array} */ bytes) =>
      send(KIND.artifact, `${JSON.stringify({ path: place, size: bytes.length })}\n`, bytes)
    const artifactsLeftOut = gatherChanged(this.#work, exec.artifactBytesMax, give, known)
    const base = { protocol: 1, id: exec.id, encoding: 'json', cpuTimeMs: 0 }
    const head = JSON.stringify({ ...base, ...end, executionMs, artifactsLeftOut })
    send(KIND.execEnd, `${head}\n${text}`)
  }

  /** @param {Exec} exec @param {Running} running @returns {Promise<ExecEnd>} */
  async #cell(exec, running) {
    if (this.#kernel?.isGone) this.#hasLost = true
    if (!this.#kernel || this.#kernel.isGone) {
      const isStarted = await this.#start()
      if (!isStarted) return { status: 'error', error: NO_KERNEL, state: 'lost' }
    }
    const state = this.#hasLost ? 'lost' : 'kept'
    this.#hasLost = false
    const kernel = /** @type {NodeKernel | ShellKernel} */ (this.#kernel)
    const { code = '', inputText, env, resultBytesMax } = exec
    const stdin = standardInput(exec)
    const sequence = ++this.#cells
    const name = `cell-${sequence}${isShell(this.#task.language) ? '' : '.js'}`
    const cell = { name, sequence, code, inputText, stdin, env, resultBytesMax }
    const ended = kernel.run(cell)
    running.interrupt = () => interruptKernel(kernel, ended)
    if (running.isInterrupted) running.interrupt()
    const end = await ended
    if (end) return { ...end, state }
    return this.#lost(kernel)
  }

  /** Starts another kernel, and returns the end of an exec whose kernel exited. @param {NodeKernel | ShellKernel} kernel @returns {Promise<ExecEnd>} */
  async #lost(kernel) {
    const { code, signal: name } = await kernel.gone
    await this.#start()
    if (name) {
      const error = { code: 'EXIT', message: `The interpreter was ended by ${name}` }
      return { status: 'error', signal: name, error, state: 'lost' }
    }
    const exitCode = code ?? 1
    if (exitCode === 0 && isShell(this.#task.language))
      return { status: 'ok', exitCode, state: 'lost' }
    const error = { code: 'EXIT', message: `The interpreter exited with ${exitCode}` }
    return { status: 'error', exitCode, error, state: 'lost' }
  }

  /** Starts a kernel; resolves with false if that fails. */
  async #start() {
    const { language, args = [], typed = false, memoryBytes } = this.#task
    const { tmp } = this.#settings
    const setting = {
      work: this.#work,
      tmp: tmp ?? '/tmp',
      args,
      flags: this.#flags,
      typed,
      memoryBytes,
      hooks: this.#hooks,
      language,
      settings: this.#settings,
    }
    fs.mkdirSync(this.#work, { recursive: true })
    this.#kernel = isShell(language) ? new ShellKernel(setting) : new NodeKernel(setting)
    this.#remember(this.#kernel.pid)
    return this.#kernel.hasStarted()
  }

  /** @param {number | undefined} leader */
  #remember(leader) {
    if (!leader) return
    this.#sessions.add(leader)
    if (this.#sessions.size <= SESSIONS_MAX) return
    for (const oldest of this.#sessions) {
      this.#sessions.delete(oldest)
      return
    }
  }

  /** @param {Exec} exec @param {Running} running @returns {Promise<ExecEnd>} */
  async #command(exec, running) {
    const { command = '', env } = exec
    const [file = '', ...args] = Array.isArray(command) ? command : ['/bin/sh', '-c', command]
    const cpuBefore = childrenCpuMs()
    const input = this.#inputOf(standardInput(exec))
    const child = spawn(file, args, {
      cwd: this.#work,
      env: { ...process.env, ...env },
      detached: true,
      stdio: [input ?? 'ignore', 1, 2],
    })
    if (input !== undefined) fs.closeSync(input)
    const { pid } = child
    this.#remember(pid)
    running.interrupt = () => interruptGroup(child)
    if (running.isInterrupted) running.interrupt()
    const [code, name, error] = await endOfChild(child)
    const base = {
      cpuTimeMs: Math.max(0, childrenCpuMs() - cpuBefore),
      state: /** @type {const} */ ('kept'),
    }
    return { ...base, ...commandEnd(code, name, error, running.isInterrupted) }
  }

  /** @param {Buffer | string | undefined} given @returns {number | undefined} */
  #inputOf(given) {
    if (given === undefined) return undefined
    const place = fileOfExec(this.#settings.tmp ?? '/tmp', 'stdin', given)
    const fd = fs.openSync(place, 'r')
    forgetFile(place)
    return fd
  }
}

function sayReleased() {
  send(KIND.released, String(Number(process.hrtime.bigint()) / 1e6))
}

/** Standard input of an exec: its bytes, else its input as JSON. @param {Exec} exec @returns {Buffer | string | undefined} */
function standardInput({ stdin, inputText }) {
  return stdin ? Buffer.from(stdin.content, stdin.encoding) : inputText
}

/** Interrupts the cell; kills the kernel if that does not end it. @param {NodeKernel | ShellKernel} kernel @param {Promise<unknown>} ended */
function interruptKernel(kernel, ended) {
  // Repeated, as a program may handle the first interrupt itself.
  const again = setInterval(() => kernel.interrupt(), ANSWER_MS / 3)
  const late = setTimeout(() => kernel.kill(), ANSWER_MS)
  const stop = () => {
    clearInterval(again)
    clearTimeout(late)
  }
  void ended.then(stop)
  kernel.interrupt()
}

/** @param {import('node:child_process').ChildProcess} child */
function interruptGroup(child) {
  const { pid } = child
  if (pid === undefined) return
  const late = setTimeout(() => signal(-pid, 'SIGKILL'), ANSWER_MS)
  child.once('exit', () => clearTimeout(late))
  signal(-pid, 'SIGINT')
}

/** @param {import('node:child_process').ChildProcess} child @returns {Promise<[number | null, string | null, Error?]>} */
function endOfChild(child) {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve([null, null, error]))
    child.once('exit', (code, name) => resolve([code, name]))
  })
}

/**
 * @param {number | null} code @param {string | null} name @param {Error | undefined} problem
 * @param {boolean} isInterrupted @returns {Partial<CellEnd> & { status: 'ok' | 'error' }}
 */
function commandEnd(code, name, problem, isInterrupted) {
  if (code === 0) return { status: 'ok', exitCode: 0 }
  const how = problem ? { exitCode: 127 } : name ? { signal: name } : { exitCode: code ?? 1 }
  if (isInterrupted) return { status: 'error', ...how, error: INTERRUPTED }
  const message = problem
    ? `Cannot start the command: ${problem.message}`
    : name
      ? `The command was ended by ${name}`
      : `The command exited with ${code}`
  return { status: 'error', ...how, error: { code: 'EXIT', message } }
}

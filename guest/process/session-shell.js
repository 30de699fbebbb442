/** Kernel of languages `bash` and `sh`, on the manager's side. */
import { spawn } from 'node:child_process'
import { renewResult } from './ground.js'
import { writtenResult } from './job.js'
import { factsOf, interruptYounger, signal } from './processes.js'
import { fileOfExec, forgetFile, Kernel } from './session-kernel.js'

const STATUS_BYTES_MAX = 4096
const READY = 'ready'

/** @typedef {import('./session-kernel.js').Cell} Cell */
/** @typedef {import('./session-kernel.js').CellEnd} CellEnd */
/** @typedef {import('./session-kernel.js').Setting} Setting */

const BASH = {
  file: '/bin/bash',
  words: ['--norc', '--noediting', '-i', '+m', '+H', '+o', 'history', '-s'],
  statusFd: 99,
}
/** dash supports only descriptors of one digit. */
const SH = { file: '/bin/sh', words: ['-i', '+m', '-s'], statusFd: 9 }

/**
 * Kernel in a shell. The shell is interactive, because only an interactive shell aborts a command at SIGINT or at an error
 * and keeps its state. It reads lines from the manager on its stdin; each sources a file. dash discards buffered input when
 * it aborts a command, so the line that reports the status is sent after the shell has reported the start of the cell.
 */
export class ShellKernel extends Kernel {
  #setting
  #shell
  #status = ''
  #after = ''
  #cpuBeforeMs = 0
  #interrupts = 0
  #resultBytesMax = 0
  /** @type {import('node:net').Socket} */
  #lines

  /** @param {Setting} setting */
  constructor(setting) {
    const shell = setting.language === 'bash' ? BASH : SH
    // An interactive sh sources the file named by ENV. Empty PS1 and PS2: no prompts.
    const { ENV, ...env } = { ...process.env, PS1: '', PS2: '' }
    super(
      spawn(shell.file, [...shell.words, '--', ...setting.args], {
        cwd: setting.work,
        env,
        detached: true,
        // bash warns at its start that it has no terminal, so its stderr is connected later.
        stdio: ['pipe', 1, 'ignore', 3, 'pipe', 2],
      }),
    )
    this.#setting = setting
    this.#shell = shell
    const streams = /** @type {any[]} */ (this.child.stdio ?? [])
    this.#lines = streams[0]
    streams[4]?.on('data', (/** @type {Buffer} */ chunk) => this.#take(chunk))
    const { statusFd } = shell
    const named = ENV === undefined ? '' : `; export ENV=${quoted(ENV)}`
    this.#line(`exec 2>&5 5>&- ${statusFd}>&4 4>&-${named}; command echo ${READY} >&${statusFd}`)
  }

  /** @param {Cell} cell */
  run({ name, code, stdin, env = {}, resultBytesMax }) {
    const ended = this.begin()
    const { tmp, settings } = this.#setting
    this.#interrupts = 0
    this.#cpuBeforeMs = factsOf(this.pid)?.cpuMs ?? 0
    this.#resultBytesMax = resultBytesMax
    const file = fileOfExec(tmp, `${name}.sh`, code)
    void ended.then(() => forgetFile(file))
    const input = stdin === undefined ? undefined : fileOfExec(tmp, 'stdin', stdin)
    void ended.then(() => forgetFile(input))
    renewResult(settings)
    const from = quoted(input ?? '/dev/null')
    const { statusFd } = this.#shell
    const reportBegin = `{ command echo ${this.nonce} begun >&${statusFd}; } 2>/dev/null`
    const result = quoted(process.env.MAYFLY_RESULT ?? '/dev/null')
    const files = `<${from} 3>${result} ${statusFd}>&-`
    const [before, after] = around(env)
    this.#after = `{ command echo ${this.nonce} $? >&${statusFd}; set +eu; ${after}:; } 2>/dev/null`
    this.#line(`${reportBegin}; ${before}. ${quoted(file)} ${files}`)
    return ended
  }

  interrupt() {
    // Shell and child must get the signal at the same time, as from a terminal: if the child dies first, the shell continues
    // with the next command; if it dies much later, bash aborts the next cell as well.
    signal(this.pid, 'SIGSTOP')
    interruptYounger(this.pid, this.began)
    signal(this.pid, 'SIGINT')
    signal(this.pid, 'SIGCONT')
    // Race: a signal between the end of the cell and its report discards the line that reports it.
    if (this.#interrupts++ > 0)
      this.#line(`{ command echo ${this.nonce} 130 >&${this.#shell.statusFd}; } 2>/dev/null`)
  }

  /** @param {string} line */
  #line(line) {
    this.#lines?.write(`${line}\n`)
  }

  /** @param {Buffer} chunk */
  #take(chunk) {
    this.#status += chunk.toString('latin1')
    const lines = this.#status.split('\n')
    this.#status = lines.pop() ?? ''
    for (const line of lines) this.#handleLine(line)
    if (this.#status.length > STATUS_BYTES_MAX) this.kill()
  }

  /** @param {string} line */
  #handleLine(line) {
    const [nonce, status = ''] = line.split(' ')
    if (nonce === READY) return this.sayReady()
    if (nonce === this.nonce && status === 'begun') return this.#line(this.#after)
    this.end(nonce, () => this.#endOf(/^\d{1,3}$/.test(status) ? Number(status) & 255 : 1))
  }

  /** @param {number} exitCode @returns {CellEnd} */
  #endOf(exitCode) {
    const after = factsOf(this.pid)?.cpuMs ?? this.#cpuBeforeMs
    const base = { encoding: 'json', exitCode, cpuTimeMs: Math.max(0, after - this.#cpuBeforeMs) }
    const { text, error } = writtenResult(this.#setting.settings, this.#resultBytesMax)
    const kept = text === '' ? 'null' : text
    if (exitCode !== 0) {
      const message = `The cell ended with ${exitCode}`
      return { status: 'error', ...base, text: kept, error: { code: 'EXIT', message } }
    }
    if (error) return { status: 'error', ...base, text: 'null', error }
    return { status: 'ok', ...base, text: kept }
  }
}

/** Sets variables for one cell. @param {Record<string, string>} env @returns {[before: string, after: string]} */
function around(env) {
  let [before, after] = ['', '']
  for (const [name, value] of Object.entries(env)) {
    if (!/^[A-Za-z_]\w*$/.test(name)) continue
    const own = `mayfly_${name}`
    before += `[ "\${${name}+x}" ] && ${own}=$${name}; export ${name}=${quoted(value)}; `
    after += `if [ "\${${own}+x}" ]; then ${name}=$${own}; unset ${own}; else unset ${name}; fi; `
  }
  return [before, after]
}

/** @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

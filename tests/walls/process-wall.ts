import { spawn, type ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { composeBubblewrap } from '../../src/jail/bubblewrap.ts'
import {
  composeEmbedded,
  type JailCommand,
  type JailedProgram,
  type JailOptions,
} from '../../src/jail/embedded.ts'
import { findJailFacts, type JailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { closeOnExecFrom } from '../../src/os/libc.js'
import { encodeFrame, FrameDecoder } from '../../src/lib/frames.ts'
import { nodeProgram, pythonProgram } from '../../src/jail/whole-guests.ts'
import { takeSlot } from '../../src/warden/slots.ts'

/** A process wall started directly by its command, with the protocol of the server. */
export interface ProcessWish {
  readonly program: 'node' | 'python'
  readonly jailKind?: 'embedded' | 'bubblewrap'
  readonly hide?: readonly string[]
  readonly without?: JailOptions['without']
  readonly scratch?: string
  readonly scratchBytes?: number
  /** Started by an ordinary user: the current one, unless that is root. */
  readonly ordinary?: boolean
}

export interface ProcessJob {
  readonly language?: 'node' | 'python' | 'sh'
  readonly entry?: string
  readonly code: string
  readonly input?: unknown
  readonly files?: readonly { path: string; content: string; encoding?: 'utf8' | 'base64' }[]
  readonly env?: Readonly<Record<string, string>>
  readonly network?: boolean
  readonly resultBytesMax?: number
  readonly artifactBytesMax?: number
}

export interface ProcessEnd {
  readonly head: {
    readonly status: string
    readonly encoding: string
    readonly error?: { code: string; name?: string; message: string; stack?: string }
    readonly exitCode?: number
    readonly signal?: string
    readonly cpuTimeMs: number
    readonly executionMs: number
    readonly artifactsLeftOut: readonly { path: string; because: string }[]
  }
  readonly text: string
  readonly value: unknown
  readonly stdout: string
  readonly stderr: string
  readonly artifacts: Readonly<Record<string, Buffer>>
  /** Milliseconds from the job frame to the end frame. */
  readonly took: number
}

const READY_MS_MAX = 30_000
const JOB_MS_MAX = 30_000
const DISK_BYTES = 64 * 2 ** 20

export class ProcessWall {
  readonly child: ChildProcess
  readonly command: JailCommand
  readonly startedMs: number
  readonly #control: Socket
  readonly #release: () => void
  readonly #text = { stdout: '', stderr: '' }

  private constructor(parts: {
    child: ChildProcess
    command: JailCommand
    startedMs: number
    release: () => void
  }) {
    this.child = parts.child
    this.command = parts.command
    this.startedMs = parts.startedMs
    this.#release = parts.release
    this.#control = (this.child.stdio as unknown as Socket[])[5]!
    this.#control.on('error', () => undefined)
    const outputs = [
      ['stdout', this.child.stdout!],
      ['stderr', this.child.stderr!],
    ] as const
    for (const [name, stream] of outputs)
      stream.on('data', (chunk: Buffer) => void (this.#text[name] += chunk.toString()))
  }

  /** A started wall, warm and parked. */
  static async start(wish: ProcessWish): Promise<ProcessWall> {
    const facts = findJailFacts([...(wish.hide ?? []), ...(wish.ordinary ? ['root'] : [])])
    const slot = facts.root ? takeSlot() : undefined
    const began = performance.now()
    try {
      const command = composed(wish, facts, slot?.uid)
      const child = launch(wish.ordinary ? asOrdinary(command) : command)
      const said = await readiness(child)
      if (said !== 'R') throw new Error(`The wall is not ready: ${said}`)
      const startedMs = performance.now() - began
      return new ProcessWall({ child, command, startedMs, release: () => slot?.release() })
    } catch (error) {
      slot?.release()
      throw error
    }
  }

  run(job: ProcessJob): Promise<ProcessEnd> {
    const { promise, resolve, reject } = Promise.withResolvers<ProcessEnd>()
    const artifacts: Record<string, Buffer> = {}
    const frames = new FrameDecoder(96 * 2 ** 20)
    const began = performance.now()
    const timer = setTimeout(() => reject(this.#lost('It said nothing')), JOB_MS_MAX)
    this.#control.on('data', (chunk: Buffer) => {
      for (const { kind, payload } of frames.push(chunk)) {
        const cut = payload.indexOf(10)
        const head = () => JSON.parse(payload.subarray(0, cut).toString()) as never
        if (kind === 17) artifacts[(head() as { path: string }).path] = payload.subarray(cut + 1)
        if (kind !== 14) continue
        const took = performance.now() - began
        const text = payload.toString('utf8', cut + 1)
        const value: unknown = text === '' ? undefined : JSON.parse(text)
        // Data already in both output pipes is read in the next turns of the event loop.
        setTimeout(() => resolve({ head: head(), text, value, ...this.#text, artifacts, took }), 20)
      }
    })
    this.child.once('exit', (code, signal) => {
      setTimeout(() => reject(this.#lost(`It ended with ${code ?? signal}`)), 50)
    })
    this.#control.write(encodeFrame(1, JSON.stringify(taskOf(job))))
    return promise.finally(() => clearTimeout(timer))
  }

  /** Tries each forbidden system call in the guest; returns the errno by call. */
  probeFilter(): Promise<Readonly<Record<string, string>>> {
    const frames = new FrameDecoder(2 ** 20)
    const { promise, resolve } = Promise.withResolvers<Readonly<Record<string, string>>>()
    this.#control.on('data', (chunk: Buffer) => {
      for (const { payload } of frames.push(chunk)) resolve(JSON.parse(payload.toString()) as never)
    })
    this.#control.write(encodeFrame(3, ''))
    return promise
  }

  #lost(why: string): Error {
    return new Error(`${why}: ${this.#text.stdout} ${this.#text.stderr}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) resolve()
      else this.child.once('exit', () => resolve())
    })
    this.child.kill('SIGKILL')
    await gone
    for (const stream of this.child.stdio) stream?.destroy()
    // Race: the last process of the wall's uid may still be exiting.
    setTimeout(() => this.#release(), 50)
  }
}

/** Runs one job in a new wall. */
export async function inProcess(wish: ProcessWish, job: ProcessJob): Promise<ProcessEnd> {
  await using wall = await ProcessWall.start(wish)
  return await wall.run(job)
}

function composed(wish: ProcessWish, facts: JailFacts, uid: number | undefined): JailCommand {
  const scratchBytes = wish.scratchBytes ?? DISK_BYTES
  const program: JailedProgram =
    wish.program === 'node' ? nodeProgram({ scratchBytes }) : pythonProgram({ scratchBytes })
  const options = { uid, without: wish.without ?? [], scratch: wish.scratch }
  const command =
    wish.jailKind === 'bubblewrap'
      ? composeBubblewrap(program, facts, options)
      : composeEmbedded(program, facts, options)
  if (!command) throw new Error('Cannot make this wall here')
  return command
}

/** Uid that owns nothing here. */
const ORDINARY_UID = 12_345

function asOrdinary(command: JailCommand): JailCommand {
  const setpriv = findProgram('setpriv')
  if (process.getuid?.() !== 0) return command
  if (!setpriv) throw new Error('Cannot become an ordinary user: setpriv is missing')
  const become = ['--reuid', `${ORDINARY_UID}`, '--regid', `${ORDINARY_UID}`, '--clear-groups']
  return { ...command, file: setpriv, args: [...become, '--', command.file, ...command.args] }
}

/** Inherited descriptors are set close-on-exec once, so that no wall gets them. */
let isShut = false

function launch({ file, args, filter, filterFd }: JailCommand): ChildProcess {
  if (!isShut) closeOnExecFrom(3)
  isShut = true
  const last = filter ? ['pipe' as const] : []
  const stdio = ['ignore', 'pipe', 'pipe', 'ignore', 'pipe', 'pipe', ...last] as const
  const child = spawn(file, args, { cwd: '/', env: {}, stdio: [...stdio] })
  if (filter) (child.stdio as unknown as Socket[])[filterFd!]!.end(filter)
  return child
}

function readiness(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let complaint = ''
    const hear = (chunk: Buffer) => void (complaint += chunk.toString())
    child.stderr!.on('data', hear)
    const timer = setTimeout(() => reject(new Error(`Not ready: ${complaint}`)), READY_MS_MAX)
    const pipe = child.stdio[4] as Readable
    pipe.once('data', (chunk: Buffer) => {
      clearTimeout(timer)
      child.stderr!.off('data', hear)
      resolve(chunk.toString())
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      setTimeout(() => reject(new Error(`It ended with ${code ?? signal}: ${complaint}`)), 50)
    })
  })
}

function taskOf(job: ProcessJob) {
  return {
    protocol: 1,
    language: job.language ?? 'node',
    entry: job.entry ?? 'auto',
    code: job.code,
    inputText: JSON.stringify(job.input ?? null),
    files: (job.files ?? []).map((file) => ({ encoding: 'utf8', ...file })),
    capabilities: [],
    env: job.env ?? {},
    timeoutMs: 5000,
    outputBytesMax: 2 ** 20,
    resultBytesMax: job.resultBytesMax ?? 4 * 2 ** 20,
    artifactBytesMax: job.artifactBytesMax ?? 16 * 2 ** 20,
    processes: 64,
    network: job.network ?? false,
  }
}

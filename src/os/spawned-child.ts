import { spawn, type ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { closeSync, fchmodSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { constants } from 'node:os'
import { attempt } from '../lib/attempt.ts'
import { signalName } from '../lib/signal-name.ts'
import { childrenOf, nameOfProcess } from './proc.ts'
import { duplicate, pipe, reap, socketPair, spawnProcess } from './libc.js'

/**
 * Starts children by posix_spawn(3). Node uses fork(2), which copies the page tables and causes one fault for each page
 * written afterwards: 0.6 ms of CPU time at 50 MiB, 2.7 at 150, twice for each wall, while the event loop is blocked.
 * posix_spawn(3) takes 0.1 ms.
 *
 * Mechanism. Streams are socket pairs, and outputs pipes: a program opens those by /dev/stdout, and no socket. libuv reaps only children that it started, so this module has to reap these
 * at SIGCHLD, each by its pid; otherwise they would stay zombies. Relies on glibc or musl; without posix_spawn(3) Node
 * starts the child.
 */

/** Common interface of a child by posix_spawn(3) and of one by Node. */
export type SpawnedChild = Pick<
  ChildProcess,
  'pid' | 'stdio' | 'stderr' | 'exitCode' | 'signalCode' | 'kill' | 'on' | 'once' | 'off'
>

export interface SpawnOptions {
  readonly argv0?: string
  /** Empty by default. */
  readonly env?: Readonly<Record<string, string>>
  readonly stdio: readonly ChildStdio[]
}

/** `pipe` is a bidirectional stream, `output` one that the child writes; descriptors of this process are numbers or sockets. */
export type ChildStdio = 'ignore' | 'pipe' | 'output' | number | Socket

/**
 * Starts a program in a session of its own, with the folder `/`. Throws SystemCallError; if Node starts the child, an
 * error is emitted as 'error'.
 */
export function spawnChild(
  file: string,
  args: readonly string[],
  { argv0 = file, env = {}, stdio }: SpawnOptions,
): SpawnedChild {
  const ends = new Ends()
  try {
    const own = stdio.map((wanted, at) => ends.add(wanted, at, stdio.length))
    const pid = file.startsWith('/')
      ? spawnProcess(file, [argv0, ...args], textsOf(env), ends.given, stdio.length)
      : undefined
    if (pid !== undefined) return begin(pid, ends.streamsOf(own))
  } finally {
    ends.close()
  }
  const simple = stdio.map((wanted) => (wanted === 'output' ? 'pipe' : wanted))
  return spawn(file, args, { argv0, cwd: '/', env, stdio: simple, detached: true })
}

/**
 * A child of this process that a template forks (CLONE_PARENT), with streams like those of `spawnChild`. `fork` passes
 * descriptors, each with its number in the child, and resolves with the pid.
 */
export async function adoptChild(
  stdio: readonly ChildStdio[],
  fork: (given: readonly (readonly [from: number, to: number])[]) => Promise<number>,
): Promise<SpawnedChild> {
  const ends = new Ends()
  try {
    const own = stdio.map((wanted, at) => ends.add(wanted, at, stdio.length))
    const pid = await fork(ends.given)
    // Race: SIGCHLD may have arrived before.
    setImmediate(lookForEnds)
    try {
      return begin(pid, ends.streamsOf(own))
    } catch (error) {
      begin(pid, []).kill('SIGKILL')
      throw error
    }
  } finally {
    ends.close()
  }
}

/** True for a running child that was started or adopted here. */
export function isKnownChild(pid: number): boolean {
  return living.has(pid)
}

/**
 * Kills and reaps unregistered children of this process with this name: the template that forked them died before it
 * reported them.
 */
export function endStrays(name: string): void {
  for (const pid of childrenOf(process.pid)) {
    if (living.has(pid) || nameOfProcess(pid) !== name) continue
    begin(pid, []).kill('SIGKILL')
  }
  setImmediate(lookForEnds)
}

const textsOf = (env: Readonly<Record<string, string>>) =>
  Object.entries(env).map((pair) => pair.join('='))

/** Descriptors of one spawn: those for the child, and this process's ends of its streams. */
class Ends {
  readonly given: [from: number, to: number][] = []
  /** Copies for the child, always closed after the spawn. */
  readonly #copies = new Set<number>()
  /** Ends of this process, closed unless a stream owns them. */
  readonly #own = new Set<number>()

  /** Returns this process's end of a stream. */
  add(wanted: ChildStdio, to: number, count: number): OwnEnd | undefined {
    if (wanted === 'ignore' && to >= STANDARD) return undefined
    const [theirs, own] = this.#open(wanted)
    // A source below the last target would be replaced before it is copied.
    this.given.push([theirs >= count ? theirs : this.#keep(duplicate(theirs, count)), to])
    return own === undefined
      ? undefined
      : { fd: own, readable: true, writable: wanted !== 'output' }
  }

  streamsOf(own: readonly (OwnEnd | undefined)[]): (Socket | null)[] {
    this.#own.clear()
    return own.map((end) => (end === undefined ? null : new Socket(end)))
  }

  close(): void {
    for (const fd of [...this.#copies, ...this.#own]) closeSync(fd)
    this.#copies.clear()
    this.#own.clear()
  }

  #open(wanted: ChildStdio): [theirs: number, own?: number] {
    if (typeof wanted === 'number') return [wanted]
    if (wanted instanceof Socket) return [descriptorOf(wanted)]
    if (wanted === 'ignore') return [this.#keep(openSync('/dev/null', 'r+'))]
    const [theirs, own] = wanted === 'output' ? openOutput() : socketPair()
    this.#own.add(own)
    return [this.#keep(theirs), own]
  }

  #keep(fd: number): number {
    this.#copies.add(fd)
    return fd
  }
}

interface OwnEnd {
  readonly fd: number
  readonly readable: boolean
  readonly writable: boolean
}

/** Open to the uid of the child too, to write alone: what one exec of a session leaves behind must not read the output of the next. */
function openOutput(): [theirs: number, own: number] {
  const { read, write } = pipe()
  fchmodSync(write, 0o222)
  return [write, read]
}

const STANDARD = 3

/** Descriptor number of a socket. Undocumented; Node's own spawn reads the same field. */
export function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as {
    readonly _handle: { readonly fd: number } | null
  }
  if (handle === null || handle.fd < 0) throw new Error('the socket is closed')
  return handle.fd
}

class PosixChild extends EventEmitter {
  readonly pid: number
  readonly stdio: (Socket | null)[]
  readonly stderr: Socket | null
  exitCode: number | null = null
  signalCode: string | null = null

  constructor(pid: number, stdio: (Socket | null)[]) {
    super()
    this.pid = pid
    this.stdio = stdio
    this.stderr = stdio[2] ?? null
  }

  /** Safe against pid reuse: a child keeps its pid until it is reaped. */
  kill(signal: NodeJS.Signals): boolean {
    if (this.exitCode !== null || this.signalCode !== null) return false
    // As of Node's children: a refused signal, such as one for a process of another uid, is no error of a timer that sends it.
    return attempt(() => process.kill(this.pid, signal)) ?? false
  }

  /** Resumes streams without a reader, or their descriptors would leak. */
  end(code: number | null, signal: string | null): void {
    this.exitCode = code
    this.signalCode = signal
    this.emit('exit', code, signal)
    for (const stream of this.stdio) stream?.resume()
  }
}

function begin(pid: number, stdio: (Socket | null)[]): SpawnedChild {
  const child = new PosixChild(pid, stdio)
  if (living.size === 0) {
    process.on('SIGCHLD', lookForEnds)
    timer = setInterval(lookForEnds, LOOK_MS)
  }
  living.set(pid, child)
  return child as unknown as SpawnedChild
}

/**
 * Interval of a timer that keeps the process alive while a child lives, as Node's own children do; a signal handler
 * would not.
 */
const LOOK_MS = 1_000
const living = new Map<number, PosixChild>()
let timer: NodeJS.Timeout | undefined

/** Several children may share one SIGCHLD. */
function lookForEnds(): void {
  for (const [pid, child] of living) {
    const end = endOf(pid)
    if (!end) continue
    living.delete(pid)
    child.end(end.code, end.signal === null ? null : (signalName(end.signal) ?? 'SIGKILL'))
  }
  if (living.size > 0) return
  process.off('SIGCHLD', lookForEnds)
  clearInterval(timer)
}

/** Exit of a child; one that was reaped elsewhere counts as killed. */
function endOf(pid: number): ReturnType<typeof reap> {
  try {
    return reap(pid)
  } catch {
    return { code: null, signal: constants.signals.SIGKILL }
  }
}

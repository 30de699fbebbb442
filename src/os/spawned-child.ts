import { spawn, type ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { constants } from 'node:os'
import { childrenOf, nameOfProcess } from './proc.ts'
import { duplicate, reap, socketPair, spawnProcess } from './libc.js'

/**
 * Children without a fork of this process's memory. Node starts children by fork(2), which copies the page tables and then
 * has each page written here fault once: 0.6 ms of processor time at 50 MiB, 2.7 at 150, twice for each wall, while the
 * loop stands still. posix_spawn(3) takes 0.1 ms.
 *
 * Mechanism. The streams are socket pairs of our own. libuv reaps only children that it started, so these are reaped at
 * SIGCHLD, each by its pid. Relies on glibc or musl; without posix_spawn(3) Node starts the child.
 */

/** Parts of a child that are used here, whichever way it was started. */
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

/** A pipe is a stream in both directions; descriptors of this process are passed as numbers, or as their sockets. */
export type ChildStdio = 'ignore' | 'pipe' | number | Socket

/**
 * Starts a program in a session of its own, with the folder `/`. Throws SystemCallError, or
 * leaves it to an 'error' event where Node starts it.
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
  return spawn(file, args, { argv0, cwd: '/', env, stdio: [...stdio], detached: true })
}

/**
 * A child of this process that another one forks (CLONE_PARENT), with streams as `spawnChild` makes them. `fork` passes
 * descriptors on, each with its number in the child, and resolves with the pid.
 */
export async function adoptChild(
  stdio: readonly ChildStdio[],
  fork: (given: readonly (readonly [from: number, to: number])[]) => Promise<number>,
): Promise<SpawnedChild> {
  const ends = new Ends()
  try {
    const own = stdio.map((wanted, at) => ends.add(wanted, at, stdio.length))
    const pid = await fork(ends.given)
    // SIGCHLD may have come before.
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

/** Whether it is a child that was started or adopted here, and has not ended. */
export function isKnownChild(pid: number): boolean {
  return living.has(pid)
}

/** Kills and reaps children of this process with this name that nobody was told of: whoever forked them died before. */
export function endStrays(name: string): void {
  for (const pid of childrenOf(process.pid)) {
    if (living.has(pid) || nameOfProcess(pid) !== name) continue
    begin(pid, []).kill('SIGKILL')
  }
  setImmediate(lookForEnds)
}

const textsOf = (env: Readonly<Record<string, string>>) =>
  Object.entries(env).map((pair) => pair.join('='))

/** Descriptors of one spawn: those that the child gets, and the other ends of its streams. */
class Ends {
  readonly given: [from: number, to: number][] = []
  /** Closed here in any case. */
  readonly #copies = new Set<number>()
  /** Closed here unless a stream has it. */
  readonly #own = new Set<number>()

  /** Returns this process's end of a stream. */
  add(wanted: ChildStdio, to: number, count: number): number | undefined {
    if (wanted === 'ignore' && to >= STANDARD) return undefined
    const [theirs, own] = this.#open(wanted)
    // A source below the last target would be replaced before it is copied.
    this.given.push([theirs >= count ? theirs : this.#keep(duplicate(theirs, count)), to])
    return own
  }

  streamsOf(own: readonly (number | undefined)[]): (Socket | null)[] {
    this.#own.clear()
    return own.map((fd) => (fd === undefined ? null : new Socket({ fd })))
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
    const [theirs, own] = socketPair()
    this.#own.add(own)
    return [this.#keep(theirs), own]
  }

  #keep(fd: number): number {
    this.#copies.add(fd)
    return fd
  }
}

const STANDARD = 3

/** Number of its descriptor. Undocumented, and what Node's own spawn reads of a socket. */
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

  /** Until it was reaped no other process has its pid. */
  kill(signal: NodeJS.Signals): boolean {
    if (this.exitCode !== null || this.signalCode !== null) return false
    return process.kill(this.pid, signal)
  }

  /** Streams that nobody reads are read to their end, or their descriptors would stay open. */
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

/** Keeps the process alive as long as a child lives, as Node's own children do; a signal alone would not. */
const LOOK_MS = 1_000
const living = new Map<number, PosixChild>()
let timer: NodeJS.Timeout | undefined

/** Several children may share one SIGCHLD. */
function lookForEnds(): void {
  for (const [pid, child] of living) {
    const end = endOf(pid)
    if (!end) continue
    living.delete(pid)
    child.end(end.code, end.signal === null ? null : nameOf(end.signal))
  }
  if (living.size > 0) return
  process.off('SIGCHLD', lookForEnds)
  clearInterval(timer)
}

/** A child that another has reaped counts as killed. */
function endOf(pid: number): ReturnType<typeof reap> {
  try {
    return reap(pid)
  } catch {
    return { code: null, signal: constants.signals.SIGKILL }
  }
}

function nameOf(signal: number): string {
  const found = Object.entries(constants.signals).find(([, one]) => one === signal)
  return found?.[0] ?? 'SIGKILL'
}

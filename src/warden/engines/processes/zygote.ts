import type { Socket } from 'node:net'
import { MayflyError } from '../../../contract/error.ts'
import type { CProgram } from '../../../jail/c-program.ts'
import { libraryFd, type TemplateJail } from '../../../jail/forked.ts'
import { launcherFdOfWhole } from '../../../jail/whole.ts'
import { sendDescriptors } from '../../../os/libc.js'
import { processFacts, threadsOf } from '../../../os/proc.ts'
import { descriptorOf, isKnownChild, type SpawnedChild } from '../../../os/spawned-child.ts'
import { listenTo, awaitReadinessByte } from '../../readiness.ts'
import { startChild } from '../spawned.ts'
import { surroundingsOf } from './forked-proof.ts'

/**
 * The warden's half of a template: a child that forks walls on request (guest/zygote/zygote.c, which has the protocol).
 * Requests are sent one at a time. The reported pid is checked: it must be a new child of this process.
 */
export interface ForkRequest {
  /** Descriptors to pass, each with its number in the child. */
  readonly given: readonly (readonly [from: number, to: number])[]
  readonly steps: readonly string[]
  readonly filter: Buffer | undefined
}

export interface TemplateParts {
  readonly jail: TemplateJail
  readonly launcher: CProgram
  readonly library: CProgram
}

/** Name of the process of a template, and of the outermost one of each wall that it forked. */
export const templateName = (pid: number) => `mayfly-z${pid}`
const READY_MS_MAX = 15_000
/** Time to answer; a fork takes a thousandth of it. */
const ANSWER_MS_MAX = 2_000
const REQUEST_FD = 5
const HEAD_BYTES = 64
const TARGETS_AT = 16
const ANSWER_BYTES = 8

export class Zygote {
  /** Resolves when it can fork. */
  readonly ready: Promise<void>
  /** Resolves when its process has ended. */
  readonly gone: Promise<void>
  readonly #child: SpawnedChild
  readonly #requests: Socket
  #serial = 0
  #surroundings: readonly string[] | undefined
  #received = Buffer.alloc(0)
  #waiting: PromiseWithResolvers<number> | undefined
  #isClosed = false

  constructor({ jail, launcher, library }: TemplateParts) {
    const stdio: ('ignore' | 'pipe' | number)[] = [
      'ignore',
      'pipe',
      'pipe',
      'ignore',
      'pipe',
      'pipe',
    ]
    while (stdio.length < launcherFdOfWhole) stdio.push('ignore')
    stdio[launcherFdOfWhole] = launcher.fd
    stdio[libraryFd] = library.fd
    this.#child = startChild(jail.file, jail.args, { stdio })
    const streams = this.#child.stdio as unknown as (Socket | null)[]
    for (const stream of streams) stream?.on('error', () => undefined)
    streams[1]?.resume()
    this.#requests = streams[REQUEST_FD]!
    this.#requests.on('data', (bytes: Buffer) => this.#readAnswer(bytes))
    this.gone = new Promise((resolve) => void this.#child.once('exit', () => resolve()))
    void this.gone.then(() => this.close())
    const ready = awaitReadinessByte(
      { child: this.#child, complaint: listenTo(this.#child) },
      READY_MS_MAX,
    )
    this.ready = ready.then(() => assertAlone(this.#child.pid!))
    this.ready.catch(() => this.close())
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Namespaces of the template, which no wall may share. */
  get surroundings(): readonly string[] {
    this.#surroundings ??= surroundingsOf(this.#child.pid!)
    return this.#surroundings
  }

  get isAlive(): boolean {
    return !this.#isClosed
  }

  /**
   * Forks the outermost process of a wall, and resolves with its pid. Throws MayflyError UNAVAILABLE; the template is
   * unusable then.
   */
  async fork(request: ForkRequest): Promise<number> {
    if (this.#isClosed) throw unavailable('it has ended')
    const serial = ++this.#serial
    const answer = Promise.withResolvers<number>()
    // `close` may reject it before it is awaited.
    answer.promise.catch(() => undefined)
    this.#waiting = answer
    const late = setTimeout(() => answer.reject(unavailable('it does not answer')), ANSWER_MS_MAX)
    try {
      this.#send(serial, request)
      const pid = await answer.promise
      if (pid <= 0) throw unavailable(`errno ${-pid}`)
      const isNew = processFacts(pid)?.parent === process.pid && !isKnownChild(pid)
      if (!isNew) throw unavailable(`process ${pid} is no new child of the warden`)
      return pid
    } catch (error) {
      this.close()
      throw error
    } finally {
      clearTimeout(late)
      this.#waiting = undefined
    }
  }

  /** Kills it; forked walls stay. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#waiting?.reject(unavailable('it has ended'))
    this.#child.kill('SIGKILL')
    for (const stream of this.#child.stdio as unknown as (Socket | null)[]) stream?.destroy()
  }

  #send(serial: number, { given, steps, filter }: ForkRequest): void {
    const words = Buffer.from(steps.map((word) => `${word}\0`).join(''))
    const head = Buffer.alloc(HEAD_BYTES)
    head.writeUInt32LE(words.length, 0)
    head.writeUInt32LE(filter?.length ?? 0, 4)
    head.writeUInt32LE(serial, 8)
    head.writeUInt32LE(given.length, 12)
    given.forEach(([, to], index) => head.writeUInt8(to, TARGETS_AT + index))
    const bytes = Buffer.concat([head, words, ...(filter ? [filter] : [])])
    const fds = given.map(([from]) => from)
    const sent = sendDescriptors(descriptorOf(this.#requests), bytes, fds)
    // The socket buffer has room for ten requests, and only one is in flight.
    if (sent !== bytes.length) throw unavailable('its socket is full')
  }

  #readAnswer(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    if (this.#received.length < ANSWER_BYTES) return
    const [serial, pid] = [this.#received.readUInt32LE(0), this.#received.readInt32LE(4)]
    const isExpected = serial === this.#serial && this.#received.length === ANSWER_BYTES
    this.#received = Buffer.alloc(0)
    if (this.#waiting && isExpected) this.#waiting.resolve(pid)
    else this.close()
  }
}

/**
 * A forked process has only one thread: locks of other threads would stay locked in it, so a template must be
 * single-threaded.
 */
function assertAlone(pid: number): void {
  const threads = threadsOf(pid).length
  if (threads !== 1) throw unavailable(`it has ${threads} threads`)
}

function unavailable(why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot fork a wall from its template: ${why}`)
}

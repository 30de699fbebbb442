import { setTimeout as delay } from 'node:timers/promises'
import type { TaskIo } from '../contract/provider.ts'
import type { GuestFiles } from './guest-files.ts'
import type { GuestOutput } from './guest-kind.ts'
import type { GuestLife } from './guest-life.ts'
import { ProgramStream } from './output-stream.ts'

/** Time for a reader to take the output of a killed job; shorter than every wait for its end. */
const READ_MS_MAX = 1000
/** The same for a program that has ended by itself; the rest is then passed on without back-pressure. */
const REST_MS_MAX = 3000
/** Longest wait for EOF after a program has exited: a child of it may keep the outputs open. */
const EXIT_MS_MAX = 500

/** Output of a whole program: on sockets, which are read to EOF after its end, and as files. */
export class ProgramOutput implements GuestOutput {
  readonly #life: GuestLife
  readonly #files: GuestFiles
  readonly #opened = Promise.withResolvers<void>()
  #isOpen = false
  /** Timer of the bound on a reader after the end. */
  #rest: NodeJS.Timeout | undefined
  #streams: readonly ProgramStream[] = []
  /** Called when output exceeds its limit; a session replaces it to interrupt the exec. */
  flooded = (): void => this.#life.kill({ status: 'limit', code: 'OUTPUT' })
  /** The streams here cut the output, and count what is beyond. */
  readonly isCut = false

  constructor(life: GuestLife, files: GuestFiles) {
    this.#life = life
    this.#files = files
  }

  get heldBytes(): number {
    const unread = this.#streams.reduce((sum, stream) => sum + stream.heldBytes, 0)
    return this.#files.bytes + this.#life.parts.wall.unreadBytes + unread
  }

  begin(io: TaskIo): void {
    const { wall, profile } = this.#life.parts
    const { stdout, stderr } = wall.streams!
    const options = { bytesMax: profile.limits.output, flooded: () => this.flooded() }
    const [out, err] = [
      (chunk: Uint8Array) => io.stdout(chunk),
      (chunk: Uint8Array) => io.stderr(chunk),
    ]
    this.#streams = [
      new ProgramStream({ ...options, socket: stdout, take: this.#onceOpen(out) }),
      new ProgramStream({ ...options, socket: stderr, take: this.#onceOpen(err) }),
    ]
  }

  /**
   * Begins to forward output. Outputs and the frame of the release come on separate sockets, so the first output of
   * user code may be read before that frame; it is queued until then. Idempotent. Every end calls it too, for output of
   * a runner that reported no release.
   */
  open(): void {
    this.#isOpen = true
    this.#opened.resolve()
  }

  /** Resets the byte count. */
  renew(bytesMax: number): void {
    for (const stream of this.#streams) stream.renew(bytesMax)
  }

  /** Returns 0, no delay: earlier output is in the sockets and is read after the kill. */
  beforeKill(): number {
    this.open()
    setTimeout(() => {
      for (const stream of this.#streams) stream.giveUp()
    }, READ_MS_MAX).unref()
    return 0
  }

  /** Resolves when all output written before the call was consumed. */
  async drained(msMax?: number): Promise<void> {
    this.open()
    await Promise.all(this.#streams.map((stream) => stream.drained(msMax)))
  }

  /** Resolves when an exiting program has closed its outputs and all output was consumed. */
  async exited(): Promise<void> {
    this.open()
    const over = Promise.all(this.#streams.map((stream) => stream.over))
    await Promise.race([over, delay(EXIT_MS_MAX, undefined, { ref: false })])
    await this.drained()
  }

  /** Stops the clock of the life once no user code is left, and bounds the wait for its reader. */
  ended(): void {
    this.#life.io?.stopped?.()
    this.#rest ??= setTimeout(() => {
      for (const stream of this.#streams) stream.hurry()
    }, REST_MS_MAX).unref()
  }

  close(): void {
    clearTimeout(this.#rest)
    this.open()
    for (const stream of this.#streams) stream.close()
  }

  #onceOpen(take: (chunk: Uint8Array) => void | Promise<void>) {
    return (chunk: Uint8Array) =>
      this.#isOpen ? take(chunk) : this.#opened.promise.then(() => take(chunk))
  }
}

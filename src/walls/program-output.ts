import { setTimeout as delay } from 'node:timers/promises'
import type { TaskIo } from '../contract/provider.ts'
import type { GuestFiles } from './guest-files.ts'
import type { GuestOutput } from './guest-kind.ts'
import type { GuestLife } from './guest-life.ts'
import { readStream, type ProgramStream } from './output-stream.ts'

/** Time for a reader to take what was printed before a job was ended; shorter than anybody waits for the end. */
const READ_MS_MAX = 1000
/** Time for a program that exits to print its last words; a child that keeps its outputs open does not hold the end up. */
const EXIT_MS_MAX = 500

/** Output of a whole program: on sockets of its own, which are read to their end after it, and in files. */
export class ProgramOutput implements GuestOutput {
  readonly #life: GuestLife
  readonly #files: GuestFiles
  #streams: readonly ProgramStream[] = []

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
    const flooded = () => this.#life.kill({ status: 'limit', code: 'OUTPUT' })
    const options = { bytesMax: profile.limits.output, flooded }
    this.#streams = [
      readStream({ ...options, socket: stdout, take: (chunk) => io.stdout(chunk) }),
      readStream({ ...options, socket: stderr, take: (chunk) => io.stderr(chunk) }),
    ]
  }

  /** Output printed before lies in the sockets, and is read after the end: the kill need not wait. */
  beforeKill(): number {
    setTimeout(() => {
      for (const stream of this.#streams) stream.giveUp()
    }, READ_MS_MAX).unref()
    return 0
  }

  /** Resolves when all that was written before now has been taken. */
  async drained(): Promise<void> {
    await Promise.all(this.#streams.map((stream) => stream.drained()))
  }

  /** Resolves when a program that exits has closed its outputs, and all that it wrote has been taken. */
  async exited(): Promise<void> {
    const over = Promise.all(this.#streams.map((stream) => stream.over))
    await Promise.race([over, delay(EXIT_MS_MAX, undefined, { ref: false })])
    await this.drained()
  }

  close(): void {
    for (const stream of this.#streams) stream.close()
  }
}

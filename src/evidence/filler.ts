import { setImmediate as turn } from 'node:timers/promises'
import type { Clock, Timer } from '../contract/clock.ts'
import type { AuditStore } from './store.ts'
import { WriteBackThread } from './write-back-thread.ts'

/**
 * Copies lines from the journal into the database within `fillAfterMs`, asynchronously and in small pieces, and writes the WAL
 * back on a thread, because that waits for the disk.
 */
export class Filler {
  readonly #options: FillerOptions
  readonly #thread: WriteBackThread
  #timer: Timer | undefined
  #last: Promise<unknown> = Promise.resolve()
  /** Last line appended by this process. */
  #noted = 0
  #closed = false

  constructor(options: FillerOptions) {
    this.#options = options
    this.#thread = new WriteBackThread(options.path, options.clock)
  }

  /** Call after an append of line `seq`. */
  note(seq: number): void {
    this.#noted = seq
    if (this.#timer || this.#closed) return
    this.#timer = this.#options.clock.after(fillAfterMs, () => {
      this.#timer = undefined
      // Ignored: checkpoints copy the same lines, and report the error.
      this.fill(this.#noted).catch(() => undefined)
    })
    this.#timer.unref?.()
  }

  /**
   * Copies lines up to `upTo`, or all present ones. Calls are serialised; lines appended during a call are not waited for, because
   * it might never end.
   */
  fill(upTo = Infinity): Promise<void> {
    const done = this.#last.catch(() => undefined).then(() => this.#fill(upTo))
    this.#last = done
    return done
  }

  /** Writes the WAL back on the thread; in the event loop at close, or if the thread fails. */
  async writeBack(): Promise<void> {
    if (!this.#closed) {
      try {
        return await this.#thread.writeBack()
      } catch {
        // Falls through: a disk error will be thrown below as well.
      }
    }
    this.#options.store.writeBack()
  }

  /** Must be called before the last checkpoint. */
  closing(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#timer = undefined
  }

  async close(): Promise<void> {
    this.closing()
    await this.#last.catch(() => undefined)
    await this.#thread.close()
  }

  async #fill(upTo: number): Promise<void> {
    while (this.#options.store.fill(bytesAtOnce, upTo)) await turn()
  }
}

export interface FillerOptions {
  readonly store: Pick<AuditStore, 'fill'> & { writeBack(): unknown }
  readonly path: string
  readonly clock: Clock
}

/** Delay of the copy: `audit.db` is at most 200 ms behind for other programs. */
export const fillAfterMs = 100
/** About 20 lines: half a millisecond. */
const bytesAtOnce = 24 * 1024

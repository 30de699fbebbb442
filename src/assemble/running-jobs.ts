import { MayflyError } from '../contract/error.ts'

/** Jobs on the road. An assembly that closes cancels them, and keeps walls and record open until their last lines are written. */
export class RunningJobs {
  readonly #ending = new AbortController()
  readonly #running = new Set<Promise<unknown>>()

  /** Runs `work`, whose signal aborts at the close. Throws MayflyError CONFLICT after it. */
  async add<T>(work: (ending: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.#ending
    if (signal.aborted) throw new MayflyError('CONFLICT', 'Cannot use Mayfly: it was closed')
    const running = work(signal)
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  /** Cancels jobs and refuses new ones; resolves when all have ended. */
  async close(): Promise<void> {
    this.#ending.abort()
    await Promise.allSettled(this.#running)
  }
}

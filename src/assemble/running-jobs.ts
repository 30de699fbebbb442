import { closedError } from '../contract/error.ts'

/** Jobs on the road. An assembly that closes cancels them, and keeps walls and record open until their last lines are written. */
export class RunningJobs {
  readonly #ending = new AbortController()
  readonly #running = new Set<Promise<unknown>>()

  /** Runs `work` for a caller whose signal aborts at the close as well. Throws MayflyError CONFLICT after it. */
  run<C extends { readonly signal: AbortSignal }, T>(
    caller: C,
    work: (caller: C) => Promise<T>,
  ): Promise<T> {
    const signal = AbortSignal.any([caller.signal, this.#ending.signal])
    return this.add(() => work({ ...caller, signal }))
  }

  /** The close waits for this work. Throws MayflyError CONFLICT after it. */
  async add<T>(work: () => Promise<T>): Promise<T> {
    if (this.#ending.signal.aborted) throw closedError()
    const running = work()
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

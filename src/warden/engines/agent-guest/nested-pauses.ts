import { createMutex } from '../../../lib/mutex.ts'

/**
 * Nested pauses of a guest: it resumes once no reason is left to pause it (its owner, its CPU limit, a capture, a fork). Requests are
 * queued and executed one after another, so that a pause and a resume never overlap.
 *
 * A capture and a fork resume the guest for a while in between (`resumeDuring`), and read its memory outside of that queue. So each is
 * done as a whole, by `alone`: neither runs the guest while the other reads it.
 */
export class NestedPauses {
  readonly #guest: PausableGuest
  readonly #reasons = new Set<PauseReason>()
  readonly #alone = createMutex()
  #last: Promise<void> = Promise.resolve()
  #isPausing = false

  constructor(guest: PausableGuest) {
    this.#guest = guest
  }

  /** True if the guest is paused or being paused: it answers no request then. */
  get isPaused(): boolean {
    return this.#isPausing || this.#reasons.size > 0
  }

  /** True if it is paused for another reason than this one. */
  isPausedBeside(reason: PauseReason): boolean {
    return [...this.#reasons].some((one) => one !== reason)
  }

  /** Resolves once it is paused. Rejects as `freeze` does, which leaves no pause behind; the reason is then removed again. */
  pause(reason: PauseReason): Promise<void> {
    return this.#next(async () => {
      this.#isPausing = true
      try {
        if (this.#reasons.size === 0) await this.#guest.freeze(reason)
        this.#reasons.add(reason)
      } finally {
        this.#isPausing = false
      }
    })
  }

  resume(reason: PauseReason): Promise<void> {
    return this.#next(async () => {
      if (!this.#reasons.has(reason)) return
      if (this.#reasons.size === 1) await this.#guest.thaw(reason)
      this.#reasons.delete(reason)
    })
  }

  /** Resumes a paused guest for the duration of `act`, and keeps all reasons. Rejects as `act` and `resumeDuring` do. */
  resumeDuring<Result>(act: () => Promise<Result>): Promise<Result> {
    return this.#next(async () => {
      if (this.#reasons.size === 0) return await act()
      const takeBack = await this.#guest.resumeDuring()
      try {
        return await act()
      } finally {
        await takeBack()
      }
    })
  }

  /** Runs `act` once no other `act` runs: all of a capture or fork, from its pause to its resume. */
  alone<Result>(act: () => Promise<Result>): Promise<Result> {
    return this.#alone(act)
  }

  #next<Result>(act: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(act)
    this.#last = done.then(nothing, nothing)
    return done
  }
}

export type PauseReason = 'owner' | 'cpu' | 'capture' | 'fork'

export interface PausableGuest {
  /** If it rejects, the guest goes on, or has ended: nobody resumes it. */
  freeze(reason: PauseReason): Promise<unknown>
  /** `reason` is the last reason that was removed. */
  thaw(reason: PauseReason): Promise<unknown>
  /** Resumes it; resolves with the function that pauses it again. */
  resumeDuring(): Promise<() => Promise<unknown>>
}

const nothing = () => undefined

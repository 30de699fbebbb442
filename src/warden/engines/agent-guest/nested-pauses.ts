/**
 * NestedPauses of a guest that nest: it runs again once nobody holds it, neither its owner nor its CPU limit
 * nor a capture. Requests are done one
 * after the other, so that a stop and a go never pass each other.
 */
export class NestedPauses {
  readonly #guest: PausableGuest
  readonly #holders = new Set<PauseReason>()
  #last: Promise<void> = Promise.resolve()
  #isStopping = false

  constructor(guest: PausableGuest) {
    this.#guest = guest
  }

  /** Whether it stands still, or is about to: it answers no question then. */
  get isStill(): boolean {
    return this.#isStopping || this.#holders.size > 0
  }

  /** Resolves once it is stopped. Rejects as `freeze` does; then this holder holds nothing. */
  stop(holder: PauseReason): Promise<void> {
    return this.#next(async () => {
      this.#isStopping = true
      try {
        if (this.#holders.size === 0) await this.#guest.freeze(holder)
        this.#holders.add(holder)
      } finally {
        this.#isStopping = false
      }
    })
  }

  go(holder: PauseReason): Promise<void> {
    return this.#next(async () => {
      if (!this.#holders.has(holder)) return
      if (this.#holders.size === 1) await this.#guest.thaw(holder)
      this.#holders.delete(holder)
    })
  }

  /** Resumes a paused guest for the duration of `act`, and keeps all holders. Rejects as `act` and `lend` do. */
  lend<Result>(act: () => Promise<Result>): Promise<Result> {
    return this.#next(async () => {
      if (this.#holders.size === 0) return await act()
      const takeBack = await this.#guest.lend()
      try {
        return await act()
      } finally {
        await takeBack()
      }
    })
  }

  #next<Result>(act: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(act)
    this.#last = done.then(nothing, nothing)
    return done
  }
}

export type PauseReason = 'owner' | 'cpu' | 'capture'

export interface PausableGuest {
  freeze(holder: PauseReason): Promise<unknown>
  /** `holder` was the last to hold it. */
  thaw(holder: PauseReason): Promise<unknown>
  /** Resumes it; resolves with the function that pauses it again. */
  lend(): Promise<() => Promise<unknown>>
}

const nothing = () => undefined

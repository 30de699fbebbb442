/**
 * Stops of a guest that nest: it runs again once nobody holds it, neither its owner nor its CPU limit
 * nor a capture. Requests are done one
 * after the other, so that a stop and a go never pass each other.
 */
export class Stops {
  readonly #guest: Stoppable
  readonly #holders = new Set<Holder>()
  #last: Promise<void> = Promise.resolve()

  constructor(guest: Stoppable) {
    this.#guest = guest
  }

  /** Resolves once it is stopped. Rejects as `freeze` does; then this holder holds nothing. */
  stop(holder: Holder): Promise<void> {
    return this.#next(async () => {
      if (this.#holders.size === 0) await this.#guest.freeze()
      this.#holders.add(holder)
    })
  }

  go(holder: Holder): Promise<void> {
    return this.#next(async () => {
      if (!this.#holders.has(holder)) return
      if (this.#holders.size === 1) await this.#guest.thaw(holder)
      this.#holders.delete(holder)
    })
  }

  #next(act: () => Promise<void>): Promise<void> {
    const done = this.#last.then(act)
    this.#last = done.catch(() => undefined)
    return done
  }
}

export type Holder = 'owner' | 'cpu' | 'capture'

export interface Stoppable {
  freeze(): Promise<unknown>
  /** `holder` was the last to hold it. */
  thaw(holder: Holder): Promise<unknown>
}

import { closing } from '../../refusals.ts'
import type { JailedGuest } from './jailed-guest.ts'

/**
 * Guests that a source is starting. `close` kills the forked ones and waits until each caller got a result; a guest forked after
 * `close` is killed at once.
 */
export class StartingGuests<Guest extends Pick<JailedGuest, 'kill'>> {
  readonly #taking = new Set<Promise<unknown>>()
  readonly #starting = new Set<Guest>()
  #isClosed = false

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Throws MayflyError DRAINING after `close`. */
  refuseIfClosed(): void {
    if (this.#isClosed) throw closing()
  }

  async run<T>(take: () => Promise<T>): Promise<T> {
    const taking = take()
    this.#taking.add(taking)
    try {
      return await taking
    } finally {
      this.#taking.delete(taking)
    }
  }

  /** Tracks a forked guest until it has started or was released; disposing forgets it. */
  track(guest: Guest): Disposable {
    this.#starting.add(guest)
    if (this.#isClosed) guest.kill()
    return { [Symbol.dispose]: () => this.forget(guest) }
  }

  forget(guest: Guest): void {
    this.#starting.delete(guest)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const guest of this.#starting) guest.kill()
    await Promise.allSettled(this.#taking)
  }
}

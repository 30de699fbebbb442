import { MayflyError } from '../../contract/error.ts'

/** Lets everything in a wall stand still, and go on; each resolves when it does. */
export interface Halting {
  stop(): Promise<unknown>
  goOn(): Promise<unknown>
}

/**
 * A wall that stands still for whoever froze it, and for those who look into it: it goes on when none of them needs it
 * still. Who freezes it while it is looked into finds it frozen afterwards.
 */
export class Stillness {
  readonly #halting: Halting
  #isFrozen = false
  #looks = 0
  /** For good. */
  #isHeld = false

  constructor(halting: Halting) {
    this.#halting = halting
  }

  async freeze(): Promise<void> {
    this.#isFrozen = true
    await this.#halting.stop()
  }

  /** It never goes on again, whoever asks. */
  async hold(): Promise<void> {
    this.#isHeld = true
    await this.#halting.stop()
  }

  /** While it is looked into, it goes on later. Rejects with MayflyError CONFLICT for what is held. */
  async thaw(): Promise<void> {
    if (this.#isHeld) throw new MayflyError('CONFLICT', 'Cannot thaw it: its life is over')
    this.#isFrozen = false
    await this.#goOn()
  }

  async during<T>(look: () => Promise<T>): Promise<T> {
    this.#looks++
    try {
      await this.#halting.stop()
      return await look()
    } finally {
      this.#looks--
      await this.#goOn()
    }
  }

  async #goOn(): Promise<void> {
    if (!this.#isHeld && !this.#isFrozen && this.#looks === 0) await this.#halting.goOn()
  }
}

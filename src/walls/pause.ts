import { MayflyError } from '../contract/error.ts'

/** Freezes and thaws everything in a wall; each resolves when it holds. */
export interface PauseActions {
  stop(): Promise<unknown>
  resume(): Promise<unknown>
}

/**
 * Reference count of reasons to freeze a wall: an operator's freeze, and captures under way. It thaws when none is left.
 * A freeze during a capture stays after it.
 */
export class PauseState {
  readonly #actions: PauseActions
  #isFrozen = false
  #captures = 0
  /** Frozen for good: the life is over. */
  #isHeld = false

  constructor(actions: PauseActions) {
    this.#actions = actions
  }

  async freeze(): Promise<void> {
    this.#isFrozen = true
    await this.#actions.stop()
  }

  /** Freezes for good. */
  async hold(): Promise<void> {
    this.#isHeld = true
    await this.#actions.stop()
  }

  /** During a capture it takes effect afterwards. Rejects with MayflyError CONFLICT for a wall that is held. */
  async thaw(): Promise<void> {
    if (this.#isHeld) throw new MayflyError('CONFLICT', 'Cannot thaw it: its life is over')
    this.#isFrozen = false
    await this.#resume()
  }

  async during<T>(capture: () => Promise<T>): Promise<T> {
    this.#captures++
    try {
      await this.#actions.stop()
      return await capture()
    } finally {
      this.#captures--
      await this.#resume()
    }
  }

  async #resume(): Promise<void> {
    if (!this.#isHeld && !this.#isFrozen && this.#captures === 0) await this.#actions.resume()
  }
}

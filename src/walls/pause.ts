import { MayflyError } from '../contract/error.ts'

/** Freezes and thaws all processes of a wall; resolves when it is done. */
export interface PauseActions {
  /** `isHold`: for the last time. */
  stop(isHold?: boolean): Promise<unknown>
  resume(): Promise<unknown>
}

/**
 * Reference count of reasons to freeze a wall: an operator's freeze, and running captures. It thaws at zero. A freeze
 * requested during a capture outlasts it.
 */
export class PauseState {
  readonly #actions: PauseActions
  #isFrozen = false
  #captures = 0
  /** True if frozen irrevocably, after the end of the life. */
  #isHeld = false

  constructor(actions: PauseActions) {
    this.#actions = actions
  }

  async freeze(): Promise<void> {
    this.#isFrozen = true
    await this.#actions.stop()
  }

  /** Freezes irrevocably. */
  async hold(): Promise<void> {
    this.#isHeld = true
    await this.#actions.stop(true)
  }

  /** Thaws, after a running capture. Rejects with MayflyError CONFLICT after `hold`. */
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

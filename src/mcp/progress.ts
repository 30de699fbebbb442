import type { OutputListener } from '../contract/pipeline.ts'
import { sanitise } from '../output/sanitise.ts'

/** Notifications of one call, and characters of each. */
const NOTIFICATIONS_MAX = 200
const CHARACTERS_MAX = 1000

/**
 * Sends output of a running program as progress notifications, for clients that asked for them. One notification is under
 * way at a time; what comes meanwhile is joined, and above the bound the newest text is kept. The answer has all output,
 * so a slow reader never holds up a program.
 */
export class OutputProgress {
  readonly #send: (progress: number, message: string) => Promise<void>
  #sent = 0
  #pending = ''
  #isSending = false

  constructor(send: (progress: number, message: string) => Promise<void>) {
    this.#send = send
  }

  readonly tap: OutputListener = (_stream, text) => {
    this.#pending = (this.#pending + text).slice(-CHARACTERS_MAX)
    if (!this.#isSending) void this.#drain()
  }

  async #drain(): Promise<void> {
    this.#isSending = true
    while (this.#pending !== '' && this.#sent < NOTIFICATIONS_MAX) {
      const text = this.#pending
      this.#pending = ''
      this.#sent++
      // A client that is gone cancels the call; nothing is to be done here.
      await this.#send(this.#sent, sanitise(text)).catch(() => undefined)
    }
    this.#isSending = false
  }
}

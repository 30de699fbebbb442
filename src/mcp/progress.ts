import type { OutputListener } from '../contract/pipeline.ts'
import { sanitise } from '../output/sanitise.ts'

/** Maximum of notifications of one call, and of characters of each. */
const NOTIFICATIONS_MAX = 200
const CHARACTERS_MAX = 1000

/**
 * Sends output of a running program as progress notifications, for clients that requested them. One notification is pending
 * at a time; further output is joined, and above the limit the oldest text is dropped. The result has all output,
 * so a slow reader never blocks a program.
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
      // A disconnected client cancels the call elsewhere.
      await this.#send(this.#sent, sanitise(text)).catch(() => undefined)
    }
    this.#isSending = false
  }
}

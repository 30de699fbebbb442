import { once } from 'node:events'
import type { Socket } from 'node:net'
import { nodeSocketPair } from './socket-pair.ts'

/**
 * Socket by which memory copies of one wall are sent to the server: heads of one line, each followed by the bytes that
 * it announces (`src/walls/memory-capture.ts`).
 */
const PIECE_BYTES = 2 ** 20

export class CopySocket {
  #own: Socket | undefined

  /** The server's end. Throws Error on a second call, and MayflyError OVERLOADED if no descriptors are left. */
  async open(): Promise<Socket> {
    if (this.#own) throw new Error('another capture is running')
    const { own, theirs } = nodeSocketPair()
    this.#own = own
    return theirs
  }

  get isOpen(): boolean {
    return this.#own !== undefined && !this.#own.destroyed
  }

  /** Sends the next bytes of a file, with back-pressure. `trust: 'guest'`: reported by the guest. Rejects if the reader is gone. */
  async send(file: string, bytes: Uint8Array, trust?: 'guest'): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES)
      this.#socket.write(`${JSON.stringify({ file, bytes: piece.length, trust })}\n`)
      if (!this.#socket.write(piece)) await once(this.#socket, 'drain')
    }
  }

  /** Ends a copy. `lacks`: parts that a wall of this kind cannot copy. */
  end(isWhole: boolean, lacks: readonly string[] = []): void {
    for (const one of lacks) this.#socket.write(`${JSON.stringify({ lacks: one })}\n`)
    this.#socket.write(`${JSON.stringify({ end: true, isWhole })}\n`)
  }

  destroy(): void {
    this.#own?.destroy()
  }

  get #socket(): Socket {
    if (this.#own && !this.#own.destroyed) return this.#own
    throw new Error('its reader is gone')
  }
}

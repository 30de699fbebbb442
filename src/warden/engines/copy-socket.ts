import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import os from 'node:os'
import path from 'node:path'

/**
 * Socket by which memory copies of one wall are sent to the server: heads of one line, each followed by the bytes that
 * it announces (`src/walls/memory-capture.ts`). Its two ends connect at a path in a folder that only this user may
 * enter, and that is removed afterwards.
 */
const PIECE_BYTES = 2 ** 20

export class CopySocket {
  #own: Socket | undefined

  /** The server's end. Throws Error on a second call. */
  async open(): Promise<Socket> {
    if (this.#own) throw new Error('another capture is running')
    const folder = mkdtempSync(path.join(os.tmpdir(), 'mayfly-copies-'))
    try {
      const place = path.join(folder, 'socket')
      const server = createServer()
      server.listen(place)
      await once(server, 'listening')
      const theirs = connect(place)
      const [own] = (await once(server, 'connection')) as [Socket]
      server.close()
      this.#own = own.on('error', () => undefined)
      return theirs
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
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

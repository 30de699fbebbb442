import type { Socket } from 'node:net'

/**
 * Bytes that may be under way to a serial line of a guest. The line discipline of Linux buffers 4,096 bytes and throttles its driver
 * when 128 of them are free. The driver of a user-mode kernel (Linux 7.2) reads what has arrived when it is unthrottled, and is not
 * notified of bytes that arrive later: measured, a message of 6,000 bytes is read and the next one never is.
 */
export const linePaceBytes = 2_048

/**
 * Writes to a guest on a serial line, with `linePaceBytes` that it has not reported as read at most. The reports are the guest's own:
 * one that reports too early stalls its own line. What waits is bounded by the windows of the streams and the bound on answers.
 */
export class PacedSocket {
  readonly #socket: Pick<Socket, 'write' | 'destroyed'>
  readonly #waiting: { readonly bytes: Buffer; readonly sent: (() => void) | undefined }[] = []
  #room = linePaceBytes

  constructor(socket: Pick<Socket, 'write' | 'destroyed'>) {
    this.#socket = socket
  }

  /** `sent` is called once all of it was handed to the kernel. */
  write(bytes: Buffer, sent?: () => void): void {
    this.#waiting.push({ bytes, sent })
    this.#send()
  }

  /** Throws RangeError above what was sent. */
  receiveRead(bytes: number): void {
    this.#room += bytes
    if (bytes === 0 || this.#room > linePaceBytes)
      throw new RangeError('a guest reports more bytes as read than were sent')
    this.#send()
  }

  #send(): void {
    while (this.#room > 0 && !this.#socket.destroyed) {
      const next = this.#waiting.shift()
      if (!next) return
      const { bytes, sent } = next
      const piece = bytes.subarray(0, this.#room)
      const isWhole = piece.length === bytes.length
      if (!isWhole) this.#waiting.unshift({ bytes: bytes.subarray(piece.length), sent })
      this.#room -= piece.length
      this.#socket.write(piece, isWhole ? sent : undefined)
    }
  }
}

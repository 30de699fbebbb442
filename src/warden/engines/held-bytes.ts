/**
 * Bytes of one message of a hostile sender that arrives in pieces, up to a limit. However small the pieces are, they are copied into one
 * buffer: a list of them would need hundreds of bytes for each, most of them on the heap.
 */
export class HeldBytes {
  readonly #max: number
  #room: Buffer = none
  #length = 0

  constructor(bytesMax: number) {
    this.#max = bytesMax
  }

  get length(): number {
    return this.#length
  }

  /** False above the limit; the piece is left out then. */
  add(piece: Uint8Array): boolean {
    const need = this.#length + piece.length
    if (need > this.#max) return false
    if (need > this.#room.length) this.#grow(need)
    this.#room.set(piece, this.#length)
    this.#length = need
    return true
  }

  /** Passes the bytes to the caller, and begins anew. */
  take(): Buffer {
    const bytes = this.#room.subarray(0, this.#length)
    this.#room = none
    this.#length = 0
    return bytes
  }

  #grow(need: number): void {
    const room = Buffer.allocUnsafe(
      Math.min(this.#max, Math.max(ROOM_BYTES_MIN, ROOM_TIMES * need)),
    )
    this.#room.copy(room, 0, 0, this.#length)
    this.#room = room
  }
}

const ROOM_BYTES_MIN = 1_024
const ROOM_TIMES = 4
const none = Buffer.alloc(0)

const CHUNK_BYTES = 16_384
const GATHER_MS = 2
/** Output beyond its limit that the server gets, to keep its end, as of programs (`BEYOND_BYTES_MAX`); for a result, that is counted. */
const FLOOD_BYTES = 8 * 2 ** 20

/**
 * An output stream of a program. Rapid output is batched; output after a pause is sent at once, because the
 * next instruction may never end. Bytes far past the limit are dropped.
 */
export class Stream {
  #write
  #room
  #dropped = 0
  #gathered = Buffer.allocUnsafe(CHUNK_BYTES)
  #length = 0
  #flushedAt = -Infinity

  /** @param {(bytes: Uint8Array) => void} write may block @param {number} bytesMax */
  constructor(write, bytesMax) {
    this.#write = write
    this.#room = bytesMax + FLOOD_BYTES
  }

  /** True if far more was written than is kept, as by a loop without end. */
  get isFlood() {
    return this.#dropped > 0
  }

  /** @param {Uint8Array} bytes */
  add(bytes) {
    const kept = bytes.subarray(0, this.#room)
    this.#room -= kept.length
    this.#dropped += bytes.length - kept.length
    for (let at = 0; at < kept.length;) {
      const piece = kept.subarray(at, at + CHUNK_BYTES - this.#length)
      this.#gathered.set(piece, this.#length)
      this.#length += piece.length
      at += piece.length
      if (this.#length === CHUNK_BYTES) this.flush()
    }
    if (performance.now() - this.#flushedAt > GATHER_MS) this.flush()
  }

  flush() {
    if (this.#length === 0) return
    const length = this.#length
    this.#length = 0
    this.#write(this.#gathered.subarray(0, length))
    this.#flushedAt = performance.now()
  }
}

/** Result written by a program, up to its limit. */
export class Result {
  isTooLarge = false
  /** @type {Buffer[]} */
  #pieces = []
  #room
  #dropped = 0

  /** @param {number} bytesMax */
  constructor(bytesMax) {
    this.#room = bytesMax
  }

  /** True if far more was written than a result may have. */
  get isFlood() {
    return this.#dropped > FLOOD_BYTES
  }

  /** @param {Uint8Array} bytes */
  add(bytes) {
    this.isTooLarge ||= bytes.length > this.#room
    if (this.isTooLarge) this.#dropped += bytes.length
    if (this.isTooLarge || bytes.length === 0) return
    this.#room -= bytes.length
    this.#pieces.push(Buffer.from(bytes))
  }

  get text() {
    return Buffer.concat(this.#pieces).toString()
  }
}

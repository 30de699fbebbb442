/**
 * Frame protocol across a wall. The peer may be hostile, so lengths are checked before anything is buffered or
 * parsed.
 *
 * Format: 4 bytes of length (little endian, of everything after it), 1 byte of kind, then the payload. The
 * decoder collects chunks until one frame is complete, and concatenates them once per frame; payloads are views
 * of that buffer. An empty frame, or one over the bound, throws before its payload is awaited; the stream is
 * unusable afterwards.
 *
 * Relies on an ordered, reliable byte stream. Does not handle: back-pressure (the caller reads the socket),
 * resynchronisation after an error, and the meaning of kinds and payloads. guest/frames.js is the guest's
 * counterpart.
 */
export const frameHeaderBytes = 5

export interface Frame {
  readonly kind: number
  readonly payload: Buffer
}

export function encodeFrame(kind: number, payload: Uint8Array | string): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
  const frame = Buffer.allocUnsafe(frameHeaderBytes + bytes)
  frame.writeUInt32LE(bytes + 1, 0)
  frame[4] = kind
  if (typeof payload === 'string') frame.write(payload, frameHeaderBytes)
  else frame.set(payload, frameHeaderBytes)
  return frame
}

/**
 * Splits a byte stream into frames; buffers at most one incomplete frame of `payloadBytesMax` bytes, besides
 * the chunk just pushed.
 */
export class FrameDecoder {
  #max: number
  #chunks: Buffer[] = []
  #held = 0

  constructor(payloadBytesMax: number) {
    this.#max = payloadBytesMax
  }

  /** Bounds the payloads from the next frame on. */
  bound(payloadBytesMax: number): void {
    this.#max = payloadBytesMax
  }

  /** Buffered bytes of the incomplete frame. */
  get heldBytes(): number {
    return this.#held
  }

  /**
   * Throws RangeError for a frame that is empty or longer than the bound; the stream is unusable afterwards.
   */
  *push(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk)
    this.#held += chunk.length
    while (this.#held >= 4) {
      const head = this.#peek(4)
      const length = head.readUInt32LE(0)
      if (length < 1 || length > this.#max + 1) {
        throw new RangeError(`Cannot read a frame of ${length} bytes: the bound is ${this.#max}`)
      }
      if (this.#held < 4 + length) return
      const whole = this.#take(4 + length)
      yield { kind: whole[4]!, payload: whole.subarray(frameHeaderBytes) }
    }
  }

  #peek(bytes: number): Buffer {
    if (this.#chunks[0]!.length < bytes) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!
  }

  #take(bytes: number): Buffer {
    if (this.#chunks[0]!.length < bytes) this.#chunks = [Buffer.concat(this.#chunks)]
    const first = this.#chunks[0]!
    const taken = first.subarray(0, bytes)
    if (first.length === bytes) this.#chunks.shift()
    else this.#chunks[0] = first.subarray(bytes)
    this.#held -= bytes
    return taken
  }
}

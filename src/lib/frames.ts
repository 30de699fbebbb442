/**
 * Frame protocol across a wall. The peer may be hostile, so lengths are checked before anything is buffered or
 * parsed.
 *
 * Format: 4 bytes of length (little endian, of everything after it), 1 byte of kind, then the payload. Payloads of
 * frames that a chunk holds completely are views of it; any other frame is copied into a buffer of its own. An empty
 * frame, or one over the bound, throws before its payload is awaited; the stream is unusable afterwards.
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

/** Room for the start of an incomplete frame: at least this, else four times what is held, at most the frame. */
const ROOM_BYTES = 65_536
const ROOM_TIMES = 4
const LENGTH_BYTES = 4

/**
 * Splits a byte stream into frames; buffers at most one incomplete frame of `payloadBytesMax` bytes, besides
 * the chunk just pushed. However small its pieces are, they are copied into one buffer: a list of them would need
 * hundreds of bytes for each.
 */
export class FrameDecoder {
  #max: number
  /** Buffer of the incomplete frame, and bytes in it. */
  #start: Buffer = nothing
  #held = 0
  /** Bytes of the chunk behind the frame that was yielded. */
  #behind = 0

  constructor(payloadBytesMax: number) {
    this.#max = payloadBytesMax
  }

  /** Bounds the payloads from the next frame on. */
  bound(payloadBytesMax: number): void {
    this.#max = payloadBytesMax
  }

  /** Buffered bytes of the incomplete frame; while a chunk is read, also those that are not yielded yet. */
  get heldBytes(): number {
    return this.#held + this.#behind
  }

  /**
   * Yields the frames that are complete with this chunk; the caller takes all of them before it pushes the next one.
   * Throws RangeError for a frame that is empty or longer than the bound; the stream is unusable afterwards.
   */
  *push(chunk: Buffer): Generator<Frame> {
    let rest = chunk
    while (this.#held > 0 && rest.length > 0) {
      rest = this.#hold(rest)
      this.#behind = rest.length
      if (this.#held === this.#bytesOf(this.#start, this.#held)) yield this.#whole()
    }
    for (;;) {
      const bytes = this.#bytesOf(rest, rest.length)
      if (bytes === undefined || rest.length < bytes) break
      const whole = rest.subarray(0, bytes)
      rest = rest.subarray(bytes)
      this.#behind = rest.length
      yield frameIn(whole)
    }
    this.#behind = 0
    while (rest.length > 0) rest = this.#hold(rest)
  }

  /** Length of a frame that begins with these bytes; undefined while it is unknown. */
  #bytesOf(start: Buffer, held: number): number | undefined {
    if (held < LENGTH_BYTES) return undefined
    const length = start.readUInt32LE(0)
    if (length >= 1 && length <= this.#max + 1) return LENGTH_BYTES + length
    throw new RangeError(`Cannot read a frame of ${length} bytes: the bound is ${this.#max}`)
  }

  /** Copies what the incomplete frame, or its length, lacks; returns the bytes behind that. */
  #hold(bytes: Buffer): Buffer {
    const most = this.#bytesOf(this.#start, this.#held) ?? LENGTH_BYTES
    const taken = Math.min(bytes.length, most - this.#held)
    const need = this.#held + taken
    if (need > this.#start.length) {
      const room = Math.min(most, Math.max(ROOM_BYTES, ROOM_TIMES * need))
      const grown = Buffer.allocUnsafe(room)
      this.#start.copy(grown, 0, 0, this.#held)
      this.#start = grown
    }
    bytes.copy(this.#start, this.#held, 0, taken)
    this.#held = need
    return bytes.subarray(taken)
  }

  #whole(): Frame {
    const whole = frameIn(this.#start)
    this.#start = nothing
    this.#held = 0
    return whole
  }
}

const nothing = Buffer.alloc(0)

/** Frame that has exactly these bytes. */
function frameIn(whole: Buffer): Frame {
  return { kind: whole[LENGTH_BYTES]!, payload: whole.subarray(frameHeaderBytes) }
}

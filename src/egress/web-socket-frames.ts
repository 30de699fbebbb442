/**
 * Parser and writer for WebSocket frames (RFC 6455, section 5.2).
 *
 * Payload is passed through as it arrives; only the frame head (at most 14 bytes) is buffered. Control frames must be
 * final and at most 125 bytes long, and masks must match the direction (section 5.1). Extensions are never
 * negotiated, so reserved bits are errors and payloads are readable. Message fragmentation order and UTF-8 validity
 * are not checked.
 */
export interface FramePart {
  /** 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong. */
  readonly opcode: number
  /** FIN bit: last frame of its message. */
  readonly isFinal: boolean
  /** Unmasked payload received since the previous part. */
  readonly payload: Buffer
  /** True for the last part of its frame. */
  readonly isLast: boolean
}

const opcodes = [0, 1, 2, 8, 9, 10]
const controlBytesMax = 125

/** Control frames (close, ping, pong) may be interleaved with the frames of a message. */
export function isControl({ opcode }: Pick<FramePart, 'opcode'>): boolean {
  return opcode >= 8
}

export class FrameReader {
  readonly #isMasked: boolean
  #head = Buffer.alloc(0)
  #open: { opcode: number; isFinal: boolean; mask: Buffer; at: number; left: number } | undefined

  /** Client frames must be masked, server frames must not. */
  constructor(from: 'client' | 'server') {
    this.#isMasked = from === 'client'
  }

  /** Throws RangeError for invalid frames. */
  push(bytes: Buffer): readonly FramePart[] {
    const parts: FramePart[] = []
    for (let rest = bytes; rest.length > 0;) {
      const { part, left } = this.#open ? this.#take(rest) : this.#begin(rest)
      if (part) parts.push(part)
      rest = left
    }
    return parts
  }

  #begin(bytes: Buffer): { part?: FramePart; left: Buffer } {
    const known = this.#head.length
    const more = bytes.subarray(0, headBytesMax - known)
    const head = known === 0 ? more : Buffer.concat([this.#head, more])
    const size = headSize(head)
    if (size === undefined || head.length < size) {
      this.#head = Buffer.from(head)
      return { left: bytes.subarray(head.length - known) }
    }
    this.#head = Buffer.alloc(0)
    this.#open = this.#read(head.subarray(0, size))
    const left = bytes.subarray(size - known)
    return this.#open.left === 0 ? this.#take(left) : { left }
  }

  #take(bytes: Buffer): { part: FramePart; left: Buffer } {
    const open = this.#open!
    const { opcode, isFinal, mask, at } = open
    const own = bytes.subarray(0, open.left)
    open.at += own.length
    open.left -= own.length
    const isLast = open.left === 0
    if (isLast) this.#open = undefined
    const payload = this.#isMasked ? unmasked(own, mask, at) : own
    return { part: { opcode, isFinal, payload, isLast }, left: bytes.subarray(own.length) }
  }

  #read(head: Buffer) {
    const [first = 0, second = 0] = head
    const [opcode, isFinal] = [first & 0x0f, first >= 0x80]
    const left = lengthIn(head)
    if ((first & 0x70) !== 0 || !opcodes.includes(opcode))
      throw new RangeError('a frame is invalid')
    if (second >= 0x80 !== this.#isMasked)
      throw new RangeError('the mask of a frame does not match its direction')
    if (isControl({ opcode }) && (!isFinal || left > controlBytesMax))
      throw new RangeError('a control frame is fragmented or too long')
    if (!Number.isSafeInteger(left)) throw new RangeError('a frame is too long')
    return { opcode, isFinal, mask: head.subarray(-4), at: 0, left }
  }
}

const headBytesMax = 14

/** Size of the frame head; undefined while the second byte is missing. */
function headSize([, second]: Buffer): number | undefined {
  if (second === undefined) return undefined
  const length = second & 0x7f
  return 2 + (length === 127 ? 8 : length === 126 ? 2 : 0) + (second >= 0x80 ? 4 : 0)
}

function lengthIn(head: Buffer): number {
  const length = head[1]! & 0x7f
  if (length === 127) return Number(head.readBigUInt64BE(2))
  return length === 126 ? head.readUInt16BE(2) : length
}

/** `at`: payload offset of the first byte. */
function unmasked(bytes: Buffer, mask: Buffer, at: number): Buffer {
  if (bytes.length === 0) return bytes
  const plain = Buffer.allocUnsafe(bytes.length)
  for (let i = 0; i < bytes.length; i++) plain[i] = bytes[i]! ^ mask[(at + i) & 3]!
  return plain
}

/** Builds an unmasked frame, as a server sends it. */
export function frameOf(opcode: number, isFinal: boolean, payload: Buffer): Buffer {
  const first = opcode | (isFinal ? 0x80 : 0)
  return Buffer.concat([Buffer.from([first]), lengthBytes(payload.length), payload])
}

function lengthBytes(length: number): Buffer {
  if (length < 126) return Buffer.from([length])
  const bytes = Buffer.alloc(length < 65_536 ? 3 : 9)
  bytes[0] = length < 65_536 ? 126 : 127
  if (length < 65_536) bytes.writeUInt16BE(length, 1)
  else bytes.writeBigUInt64BE(BigInt(length), 1)
  return bytes
}

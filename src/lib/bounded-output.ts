import { openTailBytes } from './utf8-tail.ts'

const CR = 13
const LF = 10
const firstBytes = 4096
/** Below it a limit has no room for an end: the beginning alone is kept. */
const limitWithTailMin = 256
const tailBytesMax = 256 * 2 ** 10
const lineBytesMax = 4096
/** Room for the line between beginning and end. */
const markBytesMax = 48

/** Bytes of a limit that are for the end of the output: a quarter of it, and at most 256 KiB. */
export function tailBytesOf(bytesMax: number): number {
  return bytesMax < limitWithTailMin ? 0 : Math.min(Math.floor(bytesMax / 4), tailBytesMax)
}

/** Output within a bound. */
export interface KeptOutput {
  readonly bytes: Buffer
  /** Bytes that are missing, without those that were redrawn; 0 if it is whole. */
  readonly leftOut: number
  /** The line that says that it is cut, and the end; empty if it is not. */
  readonly end: Buffer
}

/** Place in a stream: bytes before it, in all and as counted. */
interface Place {
  readonly end: number
  readonly counted: number
}

/**
 * Output of a program, of which the beginning and the end are kept: what failed is said last.
 *
 * Mechanism: the first `heldMax` bytes are held, and of the rest the newest. Where all of it is beyond a bound, it is cut at the
 * ends of lines, with a line between that says how many bytes are left out. A line that is redrawn (`\r` without `\n`) counts
 * once, by its last state, as a terminal shows it; output within its bound is passed on unchanged.
 *
 * Not handled: other ways to redraw, as by cursor movements.
 */
export class BoundedOutput {
  readonly #bytesMax: number
  readonly #heldMax: number
  #held = Buffer.alloc(0)
  #heldLength = 0
  /** Bytes of redrawn lines that are no longer held. */
  #removed = 0
  readonly #headMax: number
  /** Bytes of a line that is left out whole, rather than cut, where the beginning ends. */
  readonly #lineMax: number
  readonly #newest: NewestBytes
  #total = 0
  #counted = 0
  /** Start of the last line. */
  #lineStart: Place = { end: 0, counted: 0 }
  #isAfterReturn = false
  #beginning: Place | undefined

  /** `bytesMax`: limit of the output. `heldMax`: bytes of memory for its beginning, if other than the limit. */
  constructor(bytesMax: number, heldMax = bytesMax) {
    this.#bytesMax = bytesMax
    this.#heldMax = heldMax
    const tailMax = tailBytesOf(bytesMax)
    this.#headMax = bytesMax - tailMax
    this.#lineMax = tailMax === 0 ? 0 : Math.min(lineBytesMax, this.#headMax / 4)
    this.#newest = new NewestBytes(tailMax)
  }

  /** Bytes so far. */
  get total(): number {
    return this.#total
  }

  /** True if the output is larger than its limit, counting each redrawn line once. */
  get isOver(): boolean {
    return this.#counted > this.#bytesMax
  }

  /** Bytes from the start that are kept whatever follows: all so far, or up to where the beginning is cut. */
  get certain(): number {
    if (this.#beginning) return this.#beginning.end
    const isNear = this.#counted > this.#headMax - this.#lineMax
    return isNear && this.#lineIsShort ? this.#lineStart.end : this.#total
  }

  /** Copies, because the chunk may be a view of a reused buffer. */
  add(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    this.#count(bytes)
    this.#total += bytes.length
    for (let rest = bytes; rest.length > 0;) {
      const room = this.#heldMax - this.#heldLength
      if (room === 0 && !this.#removeRedraws()) return this.#newest.add(rest)
      this.#hold(rest.subarray(0, room))
      rest = rest.subarray(room)
    }
  }

  /** The output within `bytesMax`, which is the limit or a part of it or, up to what is held, more. */
  within(bytesMax: number): KeptOutput {
    const held = this.#held.subarray(0, this.#heldLength)
    const isWhole = this.#total === held.length + this.#removed
    if (isWhole && held.length <= bytesMax) return { bytes: held, leftOut: 0, end: nothing }
    const shown = withoutRedraws(held)
    if (isWhole && shown.length <= bytesMax) return { bytes: shown, leftOut: 0, end: nothing }
    const tailMax = tailBytesOf(bytesMax)
    const own = bytesMax === this.#bytesMax ? this.#beginning : undefined
    const begun = own
      ? withoutRedraws(held.subarray(0, own.end - this.#removed))
      : shown.subarray(0, lineEndWithin(shown, bytesMax - tailMax))
    const head = wholeCharacters(begun)
    const last = isWhole
      ? shown.subarray(head.length)
      : withoutRedraws(Buffer.concat([held.subarray(-tailMax), this.#newest.bytes]))
    const counted = (own?.counted ?? begun.length) - (begun.length - head.length)
    return this.#joined(head, counted, fromLineStart(last, tailMax))
  }

  /** Bytes from `at` on, as far as they are held: the end of the beginning, then the newest ones. */
  since(at: number): Buffer {
    const heldEnd = this.#heldLength + this.#removed
    const newest = this.#newest.bytes
    if (at >= heldEnd) return newest.subarray(Math.max(0, newest.length - (this.#total - at)))
    const held = this.#held.subarray(Math.max(0, at - this.#removed), this.#heldLength)
    return Buffer.concat([held, newest])
  }

  /** `counted`: bytes of the beginning, of which the head may be what is held. */
  #joined(head: Buffer, counted: number, tail: Buffer): KeptOutput {
    const leftOut = Math.max(1, this.#counted - counted - tail.length)
    if (tailBytesOf(this.#bytesMax) === 0) return { bytes: head, leftOut, end: nothing }
    const lineEnd = head.length === 0 || head.at(-1) === LF ? '' : '\n'
    const end = Buffer.concat([Buffer.from(`${lineEnd}… ${leftOut} bytes left out …\n`), tail])
    return { bytes: Buffer.concat([head, end]), leftOut, end }
  }

  /** False if that makes little room. */
  #removeRedraws(): boolean {
    if (this.#beginning || this.#counted > this.#heldMax / 2) return false
    const shown = withoutRedraws(this.#held.subarray(0, this.#heldLength))
    const removed = this.#heldLength - shown.length
    shown.copy(this.#held)
    this.#heldLength = shown.length
    this.#removed += removed
    return removed > 0
  }

  #hold(bytes: Buffer): void {
    const length = this.#heldLength + bytes.length
    if (length > this.#held.length) {
      const grown = Buffer.alloc(Math.min(Math.max(2 * length, firstBytes), this.#heldMax))
      this.#held.copy(grown, 0, 0, this.#heldLength)
      this.#held = grown
    }
    bytes.copy(this.#held, this.#heldLength)
    this.#heldLength = length
  }

  /** Counts each state of a redrawn line in place of the one before. */
  #count(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#isAfterReturn && bytes[at] !== LF && bytes[at] !== CR)
        this.#counted = this.#lineStart.counted
      const next = bytes.indexOf(CR, at)
      const end = next === -1 ? bytes.length : next + 1
      this.#beginning ??= this.#beginningIn(bytes, at, end)
      const lineEnd = at + bytes.subarray(at, end).lastIndexOf(LF) + 1
      if (lineEnd > at)
        this.#lineStart = { end: this.#total + lineEnd, counted: this.#counted + lineEnd - at }
      this.#counted += end - at
      this.#isAfterReturn = next !== -1
      at = end
    }
  }

  /** The beginning, if it ends in these bytes: at the end of a line, unless that is long. */
  #beginningIn(bytes: Buffer, at: number, end: number): Place | undefined {
    const room = this.#headMax - this.#counted
    if (end - at <= room) return undefined
    const cut = at + Math.max(0, room)
    const lineEnd = this.#lineMax === 0 ? -1 : bytes.subarray(at, cut).lastIndexOf(LF)
    if (lineEnd !== -1) {
      const length = lineEnd + 1
      return { end: this.#total + at + length, counted: this.#counted + length }
    }
    if (this.#lineIsShort) return this.#lineStart
    return { end: this.#total + cut, counted: this.#counted + cut - at }
  }

  /** True if the last line started so near to the end of the beginning that it is not told before it is whole. */
  get #lineIsShort(): boolean {
    return this.#lineStart.counted > this.#headMax - this.#lineMax
  }
}

const nothing = Buffer.alloc(0)

/** The last `bytesMax` bytes of what is added. */
class NewestBytes {
  readonly #bytesMax: number
  #ring = Buffer.alloc(0)
  #at = 0
  #isFull = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  add(bytes: Buffer): void {
    if (this.#bytesMax === 0) return
    if (this.#ring.length === 0) this.#ring = Buffer.alloc(this.#bytesMax)
    for (let rest = bytes.subarray(-this.#bytesMax); rest.length > 0;) {
      const copied = rest.copy(this.#ring, this.#at)
      rest = rest.subarray(copied)
      this.#isFull ||= this.#at + copied === this.#bytesMax
      this.#at = (this.#at + copied) % this.#bytesMax
    }
  }

  get bytes(): Buffer {
    const written = this.#ring.subarray(0, this.#at)
    return this.#isFull ? Buffer.concat([this.#ring.subarray(this.#at), written]) : written
  }
}

/** Each line in its last state. */
function withoutRedraws(bytes: Buffer): Buffer {
  if (!bytes.includes(CR)) return bytes
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const newLine = bytes.indexOf(LF, at)
    const end = newLine === -1 ? bytes.length : newLine + 1
    let textEnd = newLine === -1 ? end : newLine
    while (textEnd > at && bytes[textEnd - 1] === CR) textEnd -= 1
    parts.push(bytes.subarray(at + bytes.subarray(at, textEnd).lastIndexOf(CR) + 1, end))
    at = end
  }
  return Buffer.concat(parts)
}

/** End of the last line within `bytesMax` bytes; without one, all of them. */
function lineEndWithin(bytes: Buffer, bytesMax: number): number {
  const within = bytes.subarray(0, bytesMax)
  return within.lastIndexOf(LF) + 1 || within.length
}

/** The end within `bytesMax` bytes, without the line that says what is missing: from the start of a line, else of a character. */
function fromLineStart(bytes: Buffer, bytesMax: number): Buffer {
  const from = bytes.length - Math.max(0, bytesMax - markBytesMax)
  if (from <= 0 || bytes[from - 1] === LF) return bytes.subarray(Math.max(0, from))
  const last = bytes.subarray(from)
  const newLine = last.indexOf(LF)
  if (newLine !== -1 && newLine + 1 < last.length) return last.subarray(newLine + 1)
  const start = last.findIndex((byte) => (byte & 0xc0) !== 0x80)
  return last.subarray(start > 3 ? 0 : Math.max(0, start))
}

function wholeCharacters(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.length - openTailBytes(bytes))
}

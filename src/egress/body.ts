import { refused, valuesOf, type Refused, type RequestHead } from './head.ts'

/** How the body of a request ends. */
export type Framing = { readonly kind: 'length'; readonly length: number } | { kind: 'chunked' }

/** One way to tell where a body ends, or none: two ways are how one request is made into two. */
export function framingOf({ method, minor, headers }: RequestHead): Framing | Refused {
  const lengths = valuesOf(headers, 'content-length')
  const codings = valuesOf(headers, 'transfer-encoding')
  if (lengths.length + codings.length > 1) return refused('the end of its body is told twice')
  if (codings.length === 1)
    return minor === 1 && method !== 'CONNECT' && codings[0]!.toLowerCase() === 'chunked'
      ? { kind: 'chunked' }
      : refused('the coding of its body is not "chunked"')
  const [length = '0'] = lengths
  if (!/^\d{1,15}$/.test(length) || (method === 'CONNECT' && Number(length) > 0))
    return refused('the length of its body cannot be read')
  return { kind: 'length', length: Number(length) }
}

/** Takes a body out of the bytes that carry it, a piece at a time. */
export interface BodyReader {
  /** The body's own bytes among these; throws RangeError on what is no chunk. */
  push(bytes: Buffer): Buffer
  readonly isDone: boolean
}

export function bodyReader(framing: Framing): BodyReader {
  return framing.kind === 'length' ? new LengthReader(framing.length) : new ChunkReader(strict)
}

/** The same for an answer; a length may be Infinity, where the end of the connection is its end. */
export function answerReader(framing: Framing): BodyReader {
  return framing.kind === 'length' ? new LengthReader(framing.length) : new ChunkReader(lenient)
}

/** The bytes that carry a piece of a body; chunks are written anew, without what stood around them. */
export function carried(bytes: Buffer, { kind }: Framing, isLast: boolean): Buffer {
  if (kind === 'length') return bytes
  const size = Buffer.from(`${bytes.length.toString(16)}\r\n`)
  const chunk = bytes.length > 0 ? [size, bytes, Buffer.from('\r\n')] : []
  return Buffer.concat([...chunk, Buffer.from(isLast ? '0\r\n\r\n' : '')])
}

class LengthReader implements BodyReader {
  #left: number

  constructor(length: number) {
    this.#left = length
  }

  get isDone(): boolean {
    return this.#left === 0
  }

  /** Bytes beyond the end are nobody's: they are dropped, and the connection with them. */
  push(bytes: Buffer): Buffer {
    const own = bytes.subarray(0, this.#left)
    this.#left -= own.length
    return own
  }
}

/** What may stand around chunks. */
interface ChunkRules {
  readonly size: RegExp
  readonly trailersMax: number
  readonly lineBytesMax: number
}

/** No extensions and no trailers in what leaves: nobody needs them, and servers disagree about them. */
const strict: ChunkRules = {
  size: /^([0-9a-fA-F]{1,12})\r\n$/,
  trailersMax: 0,
  lineBytesMax: 1024,
}
/** What servers do write is read, and left out. */
const lenient: ChunkRules = {
  size: /^([0-9a-fA-F]{1,12})[ \t]*(;.*)?\r\n$/,
  trailersMax: 100,
  lineBytesMax: 8 * 1024,
}

class ChunkReader implements BodyReader {
  readonly #rules: ChunkRules
  #state: 'size' | 'data' | 'after' | 'end' | 'done' = 'size'
  #line = ''
  #left = 0
  #trailers = 0

  constructor(rules: ChunkRules) {
    this.#rules = rules
  }

  get isDone(): boolean {
    return this.#state === 'done'
  }

  push(bytes: Buffer): Buffer {
    const own: Buffer[] = []
    for (let at = 0; at < bytes.length && this.#state !== 'done';) {
      if (this.#state !== 'data') this.#take(bytes[at++]!)
      else {
        const piece = bytes.subarray(at, at + this.#left)
        own.push(piece)
        at += piece.length
        this.#left -= piece.length
        if (this.#left === 0) this.#state = 'after'
      }
    }
    return own.length === 1 ? own[0]! : Buffer.concat(own)
  }

  #take(byte: number): void {
    this.#line += String.fromCharCode(byte)
    if (this.#line.length > this.#rules.lineBytesMax) throw new RangeError('a chunk has no end')
    if (byte !== 0x0a) return
    const line = this.#line
    this.#line = ''
    if (this.#state === 'size') return this.#open(line)
    if (this.#state === 'end' && line !== '\r\n' && this.#trailers++ < this.#rules.trailersMax)
      return
    if (line !== '\r\n') throw new RangeError('a chunk is longer than it says, or has a trailer')
    this.#state = this.#state === 'after' ? 'size' : 'done'
  }

  #open(line: string): void {
    const [, hex] = this.#rules.size.exec(line) ?? []
    if (hex === undefined) throw new RangeError('the length of a chunk cannot be read')
    this.#left = parseInt(hex, 16)
    this.#state = this.#left === 0 ? 'end' : 'data'
  }
}

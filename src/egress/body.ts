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

const lineBytesMax = 1024

/** Takes a body out of the bytes that carry it, a piece at a time. */
export interface BodyReader {
  /** The body's own bytes among these; throws RangeError on what is no chunk. */
  push(bytes: Buffer): Buffer
  readonly isDone: boolean
}

export function bodyReader(framing: Framing): BodyReader {
  return framing.kind === 'length' ? new LengthReader(framing.length) : new ChunkReader()
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

/** Chunks without extensions and without trailers: nobody needs them, and servers disagree about them. */
class ChunkReader implements BodyReader {
  #state: 'size' | 'data' | 'after' | 'end' | 'done' = 'size'
  #line = ''
  #left = 0

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
    return Buffer.concat(own)
  }

  #take(byte: number): void {
    this.#line += String.fromCharCode(byte)
    if (this.#line.length > lineBytesMax) throw new RangeError('a chunk has no end')
    if (byte !== 0x0a) return
    const line = this.#line
    this.#line = ''
    if (this.#state === 'size') return this.#open(line)
    if (line !== '\r\n') throw new RangeError('a chunk is longer than it says, or has a trailer')
    this.#state = this.#state === 'after' ? 'size' : 'done'
  }

  #open(line: string): void {
    const [, hex] = /^([0-9a-fA-F]{1,12})\r\n$/.exec(line) ?? []
    if (hex === undefined) throw new RangeError('the length of a chunk cannot be read')
    this.#left = parseInt(hex, 16)
    this.#state = this.#left === 0 ? 'end' : 'data'
  }
}

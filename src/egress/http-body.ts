import { refused, valuesOf, type EgressRefusal, type RequestHead } from './http-head.ts'

/** Message framing of a request body (RFC 9112, section 6). */
export type Framing = { readonly kind: 'length'; readonly length: number } | { kind: 'chunked' }

/**
 * Accepts exactly one framing header: a request with both Content-Length and Transfer-Encoding, or with one of them
 * twice, is the base of request smuggling (RFC 9112, section 6.1).
 */
export function framingOf({ method, minor, headers }: RequestHead): Framing | EgressRefusal {
  const lengths = valuesOf(headers, 'content-length')
  const codings = valuesOf(headers, 'transfer-encoding')
  if (lengths.length + codings.length > 1)
    return refused('its body has more than one framing header')
  if (codings.length === 1)
    return minor === 1 && method !== 'CONNECT' && codings[0]!.toLowerCase() === 'chunked'
      ? { kind: 'chunked' }
      : refused('the coding of its body is not "chunked"')
  const [length = '0'] = lengths
  if (!/^\d{1,15}$/.test(length) || (method === 'CONNECT' && Number(length) > 0))
    return refused('the length of its body cannot be read')
  return { kind: 'length', length: Number(length) }
}

/** Incremental decoder of a framed body. */
export interface BodyReader {
  /** Returns the payload bytes of this input; throws RangeError for invalid chunks. */
  push(bytes: Buffer): Buffer
  readonly isDone: boolean
}

export function requestBodyReader(framing: Framing): BodyReader {
  return framing.kind === 'length' ? new LengthReader(framing.length) : new ChunkReader(strict)
}

/** Reader for responses; the length may be Infinity for bodies that end with the connection. */
export function responseBodyReader(framing: Framing): BodyReader {
  return framing.kind === 'length' ? new LengthReader(framing.length) : new ChunkReader(lenient)
}

/** Encodes a piece of a body; chunks are rewritten without extensions and trailers. */
export function encodeChunk(bytes: Buffer, { kind }: Framing, isLast: boolean): Buffer {
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

  /** Drops bytes beyond the body; the connection is closed after it. */
  push(bytes: Buffer): Buffer {
    const own = bytes.subarray(0, this.#left)
    this.#left -= own.length
    return own
  }
}

/** Parser limits for chunked bodies. */
interface ChunkRules {
  readonly size: RegExp
  readonly trailersMax: number
  readonly lineBytesMax: number
}

/** Requests: no chunk extensions, no trailers. Clients do not need them, and servers parse them differently. */
const strict: ChunkRules = {
  size: /^([0-9a-fA-F]{1,12})\r\n$/,
  trailersMax: 0,
  lineBytesMax: 1024,
}
/** Responses: extensions and trailers of real servers are parsed and dropped. */
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
    if (this.#line.length > this.#rules.lineBytesMax)
      throw new RangeError('the head of a chunk is too long')
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

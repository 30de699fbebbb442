/** Error with the byte offset of invalid or unsupported MessagePack. */
export class MsgpackError extends Error {
  override readonly name = 'MsgpackError'
  readonly offset: number

  constructor(why: string, offset: number) {
    super(why)
    this.offset = offset
  }
}

export interface MsgpackOptions {
  readonly depthMax: number
  /** Maximum characters of JSON to write. */
  readonly charsMax: number
}

/** Maximum values: a value may take a single byte. */
const VALUES_MAX = 2_000_000
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Transcodes untrusted MessagePack into JSON text, so that only one parser handles requests: the strict JSON
 * reader then rejects duplicate keys and the like.
 *
 * A recursive descent over the bytes, bounded in depth, number of values and characters of output before
 * anything is allocated for them. Bytes become base64; 64-bit integers keep all their digits. Throws
 * MsgpackError for values without a JSON form: extensions (timestamps included), NaN, infinities, keys that are
 * not text; and for invalid UTF-8 and trailing bytes. Relies on the caller for a bound on the input's length.
 */
export function jsonOfMsgpack(bytes: Uint8Array, options: MsgpackOptions): string {
  const reader = new Reader(bytes, options)
  reader.value(0)
  return reader.end()
}

class Reader {
  readonly #bytes: Buffer
  readonly #options: MsgpackOptions
  readonly #parts: string[] = []
  #at = 0
  #chars = 0
  #values = 0

  constructor(bytes: Uint8Array, options: MsgpackOptions) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#options = options
  }

  end(): string {
    if (this.#at < this.#bytes.length) throw this.#wrong('something follows the value')
    return this.#parts.join('')
  }

  value(depth: number): void {
    if (++this.#values > VALUES_MAX) throw this.#wrong(`more than ${VALUES_MAX} values`)
    if (depth > this.#options.depthMax) throw this.#wrong('it nests too deep')
    const first = this.#unsigned(1)
    if (first < 0x80) return this.#write(String(first))
    if (first < 0x90) return this.#map(first & 0x0f, depth)
    if (first < 0xa0) return this.#array(first & 0x0f, depth)
    if (first < 0xc0) return this.#write(JSON.stringify(this.#text(first & 0x1f)))
    if (first >= 0xe0) return this.#write(String(first - 0x100))
    this.#other(first, depth)
  }

  #other(first: number, depth: number): void {
    switch (first) {
      case 0xc0:
        return this.#write('null')
      case 0xc2:
        return this.#write('false')
      case 0xc3:
        return this.#write('true')
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#write(
          `"${this.#take(this.#unsigned(2 ** (first - 0xc4))).toString('base64')}"`,
        )
      case 0xca:
        return this.#float(this.#bytes.readFloatBE(this.#skip(4)))
      case 0xcb:
        return this.#float(this.#bytes.readDoubleBE(this.#skip(8)))
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#write(String(this.#unsigned(2 ** (first - 0xcc))))
      case 0xcf:
        return this.#write(String(this.#bytes.readBigUInt64BE(this.#skip(8))))
      case 0xd0:
      case 0xd1:
      case 0xd2:
        return this.#write(String(this.#signed(2 ** (first - 0xd0))))
      case 0xd3:
        return this.#write(String(this.#bytes.readBigInt64BE(this.#skip(8))))
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#write(JSON.stringify(this.#text(this.#unsigned(2 ** (first - 0xd9)))))
      case 0xdc:
      case 0xdd:
        return this.#array(this.#unsigned(2 ** (first - 0xdb)), depth)
      case 0xde:
      case 0xdf:
        return this.#map(this.#unsigned(2 ** (first - 0xdd)), depth)
      default:
        throw this.#wrong('an extension, or a byte that begins nothing', this.#at - 1)
    }
  }

  #array(count: number, depth: number): void {
    this.#write('[')
    for (let n = 0; n < count; n++) {
      if (n > 0) this.#write(',')
      this.value(depth + 1)
    }
    this.#write(']')
  }

  #map(count: number, depth: number): void {
    this.#write('{')
    for (let n = 0; n < count; n++) {
      if (n > 0) this.#write(',')
      this.#write(`${JSON.stringify(this.#key())}:`)
      this.value(depth + 1)
    }
    this.#write('}')
  }

  #key(): string {
    const first = this.#unsigned(1)
    if (first >= 0xa0 && first < 0xc0) return this.#text(first & 0x1f)
    if (first >= 0xd9 && first <= 0xdb) return this.#text(this.#unsigned(2 ** (first - 0xd9)))
    throw this.#wrong('a key that is no text', this.#at - 1)
  }

  #text(length: number): string {
    const bytes = this.#take(length)
    try {
      return utf8.decode(bytes)
    } catch {
      throw this.#wrong('invalid UTF-8', this.#at - length)
    }
  }

  #float(value: number): void {
    if (!Number.isFinite(value)) throw this.#wrong('a number that JSON does not have')
    this.#write(Object.is(value, -0) ? '-0' : String(value))
  }

  #unsigned(size: number): number {
    return this.#bytes.readUIntBE(this.#skip(size), size)
  }

  #signed(size: number): number {
    return this.#bytes.readIntBE(this.#skip(size), size)
  }

  #take(length: number): Buffer {
    const at = this.#skip(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** Moves on by this many bytes, and returns the offset of the first. */
  #skip(length: number): number {
    if (length > this.#bytes.length - this.#at)
      throw this.#wrong('it was cut off', this.#bytes.length)
    this.#at += length
    return this.#at - length
  }

  #write(text: string): void {
    this.#chars += text.length
    if (this.#chars > this.#options.charsMax) throw this.#wrong('it is too large as JSON')
    this.#parts.push(text)
  }

  #wrong(why: string, offset = this.#at): MsgpackError {
    return new MsgpackError(why, offset)
  }
}

/** Encodes JSON data as MessagePack, numbers in the shortest lossless form. */
export function msgpackOf(value: unknown): Buffer {
  const parts: Buffer[] = []
  write(value, parts)
  return Buffer.concat(parts)
}

function write(value: unknown, parts: Buffer[]): void {
  if (value === null || value === undefined) parts.push(Buffer.from([0xc0]))
  else if (typeof value === 'boolean') parts.push(Buffer.from([value ? 0xc3 : 0xc2]))
  else if (typeof value === 'number') parts.push(numberOf(value))
  else if (typeof value === 'string') writeText(value, parts)
  else if (Array.isArray(value)) {
    parts.push(headOf(value.length, { few: 0x90, fewMax: 15, two: 0xdc, four: 0xdd }))
    for (const one of value) write(one, parts)
  } else {
    const members = Object.entries(value).filter(([, one]) => one !== undefined)
    parts.push(headOf(members.length, { few: 0x80, fewMax: 15, two: 0xde, four: 0xdf }))
    for (const [key, one] of members) {
      writeText(key, parts)
      write(one, parts)
    }
  }
}

function writeText(text: string, parts: Buffer[]): void {
  const bytes = Buffer.from(text)
  parts.push(
    headOf(bytes.length, { few: 0xa0, fewMax: 31, one: 0xd9, two: 0xda, four: 0xdb }),
    bytes,
  )
}

interface Heads {
  readonly few: number
  readonly fewMax: number
  readonly one?: number
  readonly two: number
  readonly four: number
}

function headOf(length: number, { few, fewMax, one, two, four }: Heads): Buffer {
  if (length <= fewMax) return Buffer.from([few | length])
  if (one !== undefined && length < 0x100) return Buffer.from([one, length])
  const head = Buffer.alloc(length < 0x10000 ? 3 : 5)
  head[0] = length < 0x10000 ? two : four
  head.writeUIntBE(length, 1, head.length - 1)
  return head
}

function numberOf(value: number): Buffer {
  if (Number.isInteger(value) && !Object.is(value, -0)) {
    if (value >= 0 && value < 0x80) return Buffer.from([value])
    if (value < 0 && value >= -0x20) return Buffer.from([0x100 + value])
    if (value >= -(2 ** 31) && value < 2 ** 31) {
      const head = Buffer.alloc(5, 0xd2)
      head.writeInt32BE(value, 1)
      return head
    }
  }
  const head = Buffer.alloc(9, 0xcb)
  head.writeDoubleBE(value, 1)
  return head
}

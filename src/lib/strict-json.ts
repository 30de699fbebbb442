import { isUtf8 } from 'node:buffer'
import { parseJson } from './parse-json.ts'

export interface StrictJsonOptions {
  readonly depthMax: number
  /** Keys of a text, and objects and lists; by default 500,000 of each. */
  readonly partsMax?: number
  /** A member of the top-level object whose exact text is kept, to be forwarded unparsed. */
  readonly keep?: string
}

export interface StrictJson {
  readonly value: unknown
  /** Exact text of the member named by `keep`; undefined if absent. */
  readonly kept: string | undefined
}

/** Error with `offset`, in bytes from 0, and `path`, the position in the data. */
export class StrictJsonError extends Error {
  override readonly name = 'StrictJsonError'
  readonly offset: number | undefined
  readonly path: string | undefined

  constructor(why: string, offset?: number, path?: string) {
    super(why)
    this.offset = offset
    this.path = path
  }
}

/**
 * Parses untrusted JSON (RFC 8259, UTF-8), and rejects ambiguous input that parsers read differently: invalid
 * UTF-8, a byte order mark, duplicate keys, nesting deeper than `depthMax`. Depth and keys are checked in one
 * pass over the bytes before JSON.parse, so that deep nesting is cheap to reject. A `__proto__` key becomes an
 * own property like any other. Throws StrictJsonError.
 */
export function readStrictJson(bytes: Uint8Array, options: StrictJsonOptions): StrictJson {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!isUtf8(buffer)) throw new StrictJsonError('invalid UTF-8', firstInvalid(buffer))
  if (startsWithMark(buffer)) throw new StrictJsonError('a byte order mark', 0)
  const scan = new Scan(buffer, options)
  scan.run()
  return { value: parse(buffer), kept: scan.kept() }
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const ARRAY_OPEN = 0x5b
const BACKSLASH = 0x5c
const ARRAY_CLOSE = 0x5d
const OBJECT_OPEN = 0x7b
const OBJECT_CLOSE = 0x7d

/** Maximum keys and containers of a text: each takes a microsecond of the event loop. */
const PARTS_MAX = 500_000
/** Keys of one object to compare linearly; most objects have few. */
const LINEAR_KEYS_MAX = 8

/** An open object or array; reused by the next one of the same depth. */
class Level {
  isObject = false
  index = 0
  key = ''
  readonly few: string[] = []
  many: Set<string> | undefined

  open(isObject: boolean): void {
    this.isObject = isObject
    this.index = 0
    this.key = ''
    this.few.length = 0
    this.many = undefined
  }

  /** True if the key is new here. */
  add(key: string): boolean {
    this.key = key
    if (this.many) return this.many.size < this.many.add(key).size
    if (this.few.includes(key)) return false
    this.few.push(key)
    if (this.few.length > LINEAR_KEYS_MAX) this.many = new Set(this.few)
    return true
  }
}

/** Single-pass scanner. It assumes nothing about the grammar: JSON.parse rejects invalid JSON afterwards. */
class Scan {
  readonly #bytes: Buffer
  readonly #depthMax: number
  readonly #partsMax: number
  readonly #keep: string | undefined
  readonly #levels: Level[] = []
  #depth = 0
  #keys = 0
  #containers = 0
  #at = 0
  #expectsKey = false
  #keptFrom = -1
  #keptTo = -1

  constructor(bytes: Buffer, options: StrictJsonOptions) {
    this.#bytes = bytes
    this.#depthMax = options.depthMax
    this.#partsMax = options.partsMax ?? PARTS_MAX
    this.#keep = options.keep
  }

  run(): void {
    const bytes = this.#bytes
    while (this.#at < bytes.length) {
      const byte = bytes[this.#at]!
      if (byte === QUOTE) this.#string()
      else if (byte === OBJECT_OPEN || byte === ARRAY_OPEN) this.#open(byte === OBJECT_OPEN)
      else if (byte === OBJECT_CLOSE || byte === ARRAY_CLOSE) this.#close()
      else if (byte === COMMA) this.#next()
      this.#at += 1
    }
  }

  kept(): string | undefined {
    if (this.#keptFrom < 0 || this.#keptTo < 0) return undefined
    return this.#bytes.toString('utf8', this.#keptFrom, this.#keptTo).trim()
  }

  #open(isObject: boolean): void {
    if (this.#depth === this.#depthMax) {
      throw new StrictJsonError(`nested deeper than ${this.#depthMax}`, this.#at, this.#path())
    }
    this.#containers += 1
    if (this.#containers > this.#partsMax)
      throw new StrictJsonError(`more than ${this.#partsMax} objects and lists`, this.#at)
    this.#levels[this.#depth] ??= new Level()
    this.#levels[this.#depth]!.open(isObject)
    this.#depth += 1
    this.#expectsKey = isObject
  }

  #close(): void {
    if (this.#depth === 1) this.#endKept()
    if (this.#depth > 0) this.#depth -= 1
    this.#expectsKey = false
  }

  #next(): void {
    const level = this.#levels[this.#depth - 1]
    if (this.#depth === 1) this.#endKept()
    if (this.#depth === 0 || !level) return
    level.index += 1
    this.#expectsKey = level.isObject
  }

  /** Moves from an opening quote to the closing one, or to the end of the text. */
  #string(): void {
    const bytes = this.#bytes
    const start = this.#at
    let escaped = false
    let at = start + 1
    for (; at < bytes.length && bytes[at] !== QUOTE; at++) {
      if (bytes[at] !== BACKSLASH) continue
      escaped = true
      at += 1
    }
    this.#at = at
    if (this.#expectsKey) this.#keyAt(start, at, escaped)
  }

  #keyAt(start: number, end: number, escaped: boolean): void {
    this.#expectsKey = false
    this.#keys += 1
    if (this.#keys > this.#partsMax)
      throw new StrictJsonError(`more than ${this.#partsMax} keys`, start)
    const key = escaped
      ? unescape(this.#bytes, start, end)
      : this.#bytes.toString('utf8', start + 1, end)
    if (!this.#levels[this.#depth - 1]!.add(key)) {
      throw new StrictJsonError('duplicate key', start, this.#path())
    }
    if (this.#depth === 1 && key === this.#keep) this.#startKept()
  }

  #startKept(): void {
    const colon = this.#bytes.indexOf(COLON, this.#at)
    if (colon >= 0) this.#keptFrom = colon + 1
  }

  #endKept(): void {
    if (this.#keptFrom >= 0 && this.#keptTo < 0) this.#keptTo = this.#at
  }

  #path(): string {
    return this.#levels
      .slice(0, this.#depth)
      .map((level) => (level.isObject ? level.key : String(level.index)).slice(0, 100))
      .join('.')
  }
}

function unescape(bytes: Buffer, start: number, end: number): string {
  return parse(bytes.subarray(start, end + 1), start) as string
}

function parse(bytes: Buffer, base = 0): unknown {
  try {
    return parseJson(bytes.toString())
  } catch (thrown) {
    throw syntaxError(bytes, base, String(thrown))
  }
}

/** V8's message quotes the text, which may be secret, so only its position is used, if present. */
function syntaxError(bytes: Buffer, base: number, message: string): StrictJsonError {
  if (bytes.length === 0) return new StrictJsonError('the text is empty', 0)
  if (message.includes('end of JSON'))
    return new StrictJsonError('the text ends early', base + bytes.length)
  const position = /at position (\d+)/.exec(message)?.[1]
  if (position === undefined) return new StrictJsonError('a syntax error')
  const before = bytes.toString().slice(0, Number(position))
  return new StrictJsonError('a syntax error', base + Buffer.byteLength(before))
}

/**
 * Offset of the first invalid UTF-8 byte. Bisects at character borders, so it reads at most twice the length.
 */
function firstInvalid(bytes: Buffer): number {
  let from = 0
  let to = bytes.length
  while (to - from > 64) {
    const middle = characterStart(bytes, (from + to) >>> 1)
    if (isUtf8(bytes.subarray(from, middle))) from = middle
    else to = middle
  }
  return firstRefused(bytes, from, to)
}

function characterStart(bytes: Buffer, at: number): number {
  let start = at
  while (at - start < 3 && (bytes[start]! & 0xc0) === 0x80) start -= 1
  return start
}

function firstRefused(bytes: Buffer, from: number, to: number): number {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let at = from; at < to; at++) {
    try {
      decoder.decode(bytes.subarray(at, at + 1), { stream: true })
    } catch {
      return at
    }
  }
  return to
}

function startsWithMark(bytes: Buffer): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
}

/**
 * Lossless JSON: values without a JSON form are written `{"$type": …, "value": …}`. The encoding is `tagged` only if a
 * value needs it; in plain `json` a key `$type` is ordinary data, in `tagged` an object with an own `$type` is written
 * as its pairs. So is an object with an own key `__proto__`, which a careless reader would assign.
 * An error has its texts, its reasons and its own properties; a pattern is read as `{ source, flags }`.
 *
 *     encodeTagged({ at: new Date(0) }).text   // {"at":{"$type":"Date","value":"1970-01-01T00:00:00.000Z"}}
 *     decodeTagged({ $type: 'BigInt', value: '7' })   // 7n
 */
export interface Encoded {
  readonly text: string
  readonly encoding: 'json' | 'tagged'
}

/** Maximum levels of data, each up to three levels of JSON. */
const depthMax = 512
/** JSON nesting of `depthMax` levels of maps. */
export const taggedDepthMax = 3 * depthMax
/** Decimal digits of a 2 ** 20-bit integer. */
const digitsMax = 315_653

/** Error for a value without a tagged form, or for invalid tagged JSON. */
export class TaggedError extends Error {
  override readonly name = 'TaggedError'
}

/** Throws TaggedError for non-data: functions, symbols, cycles, more than 512 levels. */
export function encodeTagged(value: unknown): Encoded {
  const plain = new Writer(false)
  const data = plain.write(value, 0)
  if (!plain.isTagged) return { text: JSON.stringify(data), encoding: 'json' }
  const tagged = plain.sawTypeKey ? new Writer(true).write(value, 0) : data
  return { text: JSON.stringify(tagged), encoding: 'tagged' }
}

/** Decodes parsed tagged JSON. Throws TaggedError for an unknown tag or invalid content. */
export function decodeTagged(value: unknown): unknown {
  return decode(value, 0)
}

class Writer {
  isTagged = false
  sawTypeKey = false
  readonly #wrapsTypeKeys: boolean
  readonly #open = new Set<object>()

  constructor(wrapsTypeKeys: boolean) {
    this.#wrapsTypeKeys = wrapsTypeKeys
  }

  write(value: unknown, depth: number): unknown {
    if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
    if (typeof value === 'number') return this.#number(value)
    if (typeof value === 'bigint') return this.#tag('BigInt', String(value))
    if (value === undefined) return this.#tag('undefined')
    if (typeof value !== 'object') throw new TaggedError(`Cannot encode a ${typeof value} as data`)
    if (depth === depthMax) throw new TaggedError(`Cannot encode more than ${depthMax} levels`)
    if (this.#open.has(value)) throw new TaggedError('Cannot encode data that contains itself')
    this.#open.add(value)
    const written = this.#object(value, (item) => this.write(item, depth + 1))
    this.#open.delete(value)
    return written
  }

  #number(value: number): unknown {
    if (Number.isFinite(value) && !Object.is(value, -0)) return value
    return this.#tag('number', value === 0 ? '-0' : String(value))
  }

  #object(value: object, write: (item: unknown) => unknown): unknown {
    if (Array.isArray(value)) return Array.from(value, write)
    if (value instanceof Date) return this.#tag('Date', isNaN(+value) ? null : value.toISOString())
    if (value instanceof Map)
      return this.#tag(
        'Map',
        Array.from(value, (pair) => pair.map(write)),
      )
    if (value instanceof Set) return this.#tag('Set', Array.from(value, write))
    if (value instanceof ArrayBuffer)
      return this.#tag('bytes', Buffer.from(value).toString('base64'))
    if (ArrayBuffer.isView(value)) return this.#tag('bytes', base64(value))
    if (value instanceof Promise) throw new TaggedError('Cannot encode a promise as data: await it')
    if (value instanceof RegExp) {
      return this.#tag('RegExp', { source: value.source, flags: value.flags })
    }
    if (value instanceof Error) return this.#tag('Error', this.#record(partsOf(value), write))
    return this.#record(value, write)
  }

  #record(value: object, write: (item: unknown) => unknown): unknown {
    const pairs = Object.entries(value).map(([key, item]) => [key, write(item)] as const)
    const isInert = !Object.hasOwn(value, '__proto__')
    if (Object.hasOwn(value, '$type')) this.sawTypeKey = true
    if (isInert && !(this.#wrapsTypeKeys && Object.hasOwn(value, '$type'))) {
      return Object.fromEntries(pairs)
    }
    return this.#tag('object', pairs)
  }

  #tag(type: string, value?: unknown): unknown {
    this.isTagged = true
    return value === undefined ? { $type: type } : { $type: type, value }
  }
}

/** Texts of an error, its reasons, and its own enumerable properties. */
function partsOf(error: Error): object {
  const { name, message, stack } = error
  const reasons = reasonNames.filter((key) => Object.hasOwn(error, key))
  const own = reasons.map((key) => [key, (error as unknown as Record<string, unknown>)[key]])
  const texts = { name, message, ...(stack !== undefined && { stack }) }
  return { ...texts, ...Object.fromEntries([...own, ...Object.entries(error)]), ...texts }
}

function base64({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64')
}

function decode(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (depth > taggedDepthMax)
    throw new TaggedError(`Cannot decode more than ${taggedDepthMax} levels`)
  const read = (item: unknown) => decode(item, depth + 1)
  if (Array.isArray(value)) return value.map(read)
  if (Object.hasOwn(value, '$type')) return untag(value as { $type: unknown }, read)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, read(item)]))
}

type Read = (item: unknown) => unknown

function untag(tagged: { $type: unknown; value?: unknown }, read: Read): unknown {
  const { $type: type, value = null, ...others } = tagged
  const reader = typeof type === 'string' ? readers.get(type) : undefined
  const result = reader && Object.keys(others).length === 0 ? reader(value, read) : wrong
  if (result === wrong) {
    throw new TaggedError(
      `Cannot decode a tag "${String(type).slice(0, 40)}": its content is invalid`,
    )
  }
  return result
}

const wrong = Symbol('wrong')
const numbers: Readonly<Record<string, number>> = {
  NaN,
  Infinity,
  '-Infinity': -Infinity,
  '-0': -0,
}
const FLAGS = /^[a-z]{0,16}$/
/** Properties of an error that tell why it was thrown, not enumerable. */
const reasonNames: readonly string[] = ['cause', 'errors', 'error', 'suppressed']
const DIGITS = /^(0|-?[1-9]\d*)$/

/** Decoder of each tag; `wrong` for invalid content. */
const readers = new Map<string, (value: unknown, read: Read) => unknown>([
  ['undefined', (value) => (value === null ? undefined : wrong)],
  ['Date', readDate],
  ['BigInt', readBigInt],
  ['bytes', readBytes],
  ['number', (value) => (isText(value) && Object.hasOwn(numbers, value) ? numbers[value] : wrong)],
  ['Set', (value, read) => (Array.isArray(value) ? new Set(value.map(read)) : wrong)],
  [
    'Map',
    (value, read) => (isPairs(value) ? new Map(value.map(([k, v]) => [read(k), read(v)])) : wrong),
  ],
  ['object', readPairs],
  ['RegExp', readPattern],
  ['Error', readError],
])

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isPairs(value: unknown): value is readonly (readonly [unknown, unknown])[] {
  return Array.isArray(value) && value.every((pair) => Array.isArray(pair) && pair.length === 2)
}

function readDate(value: unknown): unknown {
  if (value === null) return new Date(NaN)
  const date = new Date(isText(value) ? value : NaN)
  return !isNaN(+date) && date.toISOString() === value ? date : wrong
}

function readBigInt(value: unknown): unknown {
  return isText(value) && value.length <= digitsMax + 1 && DIGITS.test(value)
    ? BigInt(value)
    : wrong
}

function readBytes(value: unknown): unknown {
  if (!isText(value)) return wrong
  const bytes = Buffer.from(value, 'base64')
  return bytes.toString('base64') === value ? new Uint8Array(bytes) : wrong
}

function readPairs(value: unknown, read: Read): unknown {
  if (!isPairs(value) || !value.every(([key]) => isText(key))) return wrong
  const record = Object.fromEntries(value.map(([key, item]) => [key as string, read(item)]))
  return Object.keys(record).length === value.length ? record : wrong
}

/** Not compiled: patterns of untrusted code may be hostile to the engine that compiles or runs them. */
function readPattern(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return wrong
  const { source, flags, ...others } = value as Readonly<Record<string, unknown>>
  const isPattern = isText(source) && isText(flags) && FLAGS.test(flags)
  return isPattern && Object.keys(others).length === 0 ? { source, flags } : wrong
}

/** An Error whose parts are own properties; those of the wire cannot become its prototype or its class. */
function readError(value: unknown, read: Read): unknown {
  const parts = read(value)
  if (typeof parts !== 'object' || parts === null || Array.isArray(parts)) return wrong
  const { name, message, stack, ...own } = parts as Readonly<Record<string, unknown>>
  if (!isText(name) || !isText(message) || !(stack === undefined || isText(stack))) return wrong
  const error = new Error(message)
  for (const [key, item] of Object.entries({ name, stack })) define(error, key, item, false)
  for (const [key, item] of Object.entries(own)) define(error, key, item, !isReason(key))
  return error
}

function define(object: object, key: string, value: unknown, enumerable: boolean): void {
  const property = { value, enumerable, writable: true, configurable: true }
  Object.defineProperty(object, key, property)
}

const isReason = (key: string) => reasonNames.includes(key)

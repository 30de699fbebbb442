/**
 * Readers of the fields of a message, as little-endian numbers and texts behind their lengths. The bytes are hostile input: each reader
 * has bounds, and throws RangeError at the first violation.
 */
export type FieldReader<Value> = (from: Payload) => Value

export type ValuesOf<Readers> = {
  readonly [Name in keyof Readers]: Readers[Name] extends FieldReader<infer Value> ? Value : never
}

/** Bytes of a message that were not read yet. */
export class Payload {
  #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length
  }

  take(length: number): Buffer {
    if (length > this.left) throw payloadFault('length')
    const taken = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return taken
  }
}

export const u8 = (min = 0, max = 255) => unsigned(1, min, max)
export const u16 = (max: number) => unsigned(2, 0, max)
export const u32 = (min = 0, max = 2 ** 32 - 1) => unsigned(4, min, max)

/** Clamped to 2^53: such numbers are only displayed. */
export function u64(from: Payload): number {
  const value = from.take(8).readBigUInt64LE()
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value)
}

export const flagField = oneOf([false, true])

/** Reads the index of a value, counted from `first`. */
export function oneOf<const Value>(values: readonly Value[], first = 0): FieldReader<Value> {
  const index = u8(first, first + values.length - 1)
  return (from) => values[index(from) - first]!
}

/** Reads all bytes that are left. */
export function rest(min: number, max: number): FieldReader<Buffer> {
  return (from) => from.take(bounded(from.left, min, max))
}

/** Reads the bytes of a text. */
export function word(min: number, max: number): FieldReader<Buffer> {
  const length = u16(max)
  return (from) => {
    const bytes = from.take(bounded(length(from), min, max))
    if (bytes.includes(0)) throw payloadFault('text')
    return bytes
  }
}

export function text(min: number, max: number): FieldReader<string> {
  const bytes = word(min, max)
  return (from) => bytes(from).toString()
}

export function list<Value>(max: number, read: FieldReader<Value>): FieldReader<readonly Value[]> {
  const length = u16(max)
  return (from) => Array.from({ length: length(from) }, () => read(from))
}

/** Reads fields in the order in which they are listed. */
export function fields<Readers extends Readonly<Record<string, FieldReader<unknown>>>>(
  readers: Readers,
): FieldReader<ValuesOf<Readers>> {
  const entries = Object.entries(readers)
  return (from) =>
    Object.fromEntries(entries.map(([name, read]) => [name, read(from)])) as ValuesOf<Readers>
}

/** Refuses values that are not good; `subject` is for the message. */
export function checkedField<Value>(
  read: FieldReader<Value>,
  isGood: (value: Value) => boolean,
  subject: string,
): FieldReader<Value> {
  return (from) => {
    const value = read(from)
    if (!isGood(value)) throw payloadFault(subject)
    return value
  }
}

export const payloadFault = (subject: string) =>
  new RangeError(`Cannot read a message of a guest agent: its ${subject} violates the protocol`)

function unsigned(length: 1 | 2 | 4, min: number, max: number): FieldReader<number> {
  return (from) => bounded(from.take(length).readUIntLE(0, length), min, max)
}

function bounded(value: number, min: number, max: number): number {
  if (value < min || value > max) throw payloadFault('number')
  return value
}

/**
 * Encodes values between an application and its host process (`host.ts`).
 *
 * Problem: calls contain values that JSON lacks (bytes, undefined, errors with their class, functions and signals of the
 * application, references to objects), and V8's own serialisation differs between the versions of both sides.
 *
 * Mechanism: a message is JSON text, followed by bytes. Other values are `{"$": [tag, …]}`; an object of the user with
 * a key `$` is written as its pairs. Functions are passed only at paths that the table of calls names, and values that the
 * table names as JSON are written by JSON.stringify, as the pipeline does with inputs. Data below `DEPTH_MAX` levels
 * is written by JSON.stringify, too.
 *
 * Not handled: a hostile peer. Both sides belong to one user, and the bounds of `peer.ts` protect against mistakes.
 */
import { MayflyError } from '../../contract/error.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { errorOf, errorFactsOf, type ErrorFacts } from './errors.ts'

/** Callbacks for the parts of a message that are not data. */
export interface Packing {
  /** Number of a function at this path of the arguments; undefined if no function may be sent there. */
  readonly functionAt?: (path: string, value: Callable) => readonly unknown[] | undefined
  /** `isKept`: it may abort after the call that passes it. */
  readonly signal?: (
    value: AbortSignal,
  ) => readonly [id: number, isAborted: boolean, isKept: boolean]
  /** Number of an object that lives on the other side. */
  readonly referenceTo?: (value: object) => number | undefined
  /** Number and facts of an object that this side keeps from now on. */
  readonly holding?: (value: object) => ExportedObject | undefined
  /** True if the value at this path is written by JSON.stringify. */
  readonly isJson?: (path: string) => boolean
}

/** With a class, the other side gets an instance; otherwise a copy of the data, which refers to the object. */
export type ExportedObject =
  | {
      readonly id: number
      readonly className: string
      readonly facts: Readonly<Record<string, unknown>>
    }
  | { readonly id: number; readonly className?: undefined }

export interface Unpacking {
  readonly functionBy?: (...facts: readonly unknown[]) => Callable
  readonly signalBy?: (id: number, isAborted: boolean, isKept: boolean) => AbortSignal
  readonly held?: (id: number) => unknown
  readonly instance?: (id: number, className: string, facts: unknown) => object
  readonly remember?: (id: number, value: object) => void
}

export type Callable = (...args: readonly unknown[]) => unknown

/** Maximum depth of data that is written value by value. */
const DEPTH_MAX = 100
/** Maximum depth of paths in the table. */
const PATH_DEPTH_MAX = 5
const LENGTH_BYTES = 4

/** Text length, text, then the bytes of its blobs. */
export function encodeMessage(message: unknown, packing: Packing): Buffer {
  const blobs: Uint8Array[] = []
  const value = new Packer(blobs, packing).pack(message, '', 0)
  const text = Buffer.from(JSON.stringify([value, blobs.map(({ length }) => length)]))
  const head = Buffer.allocUnsafe(LENGTH_BYTES)
  head.writeUInt32LE(text.length)
  return Buffer.concat([head, text, ...blobs])
}

export function decodeMessage(bytes: Buffer, unpacking: Unpacking): unknown {
  const end = LENGTH_BYTES + bytes.readUInt32LE(0)
  const [value, lengths] = parseJson(bytes.toString('utf8', LENGTH_BYTES, end)) as [
    unknown,
    number[],
  ]
  let at = end
  // Copies the bytes, because a view would keep the whole message alive.
  const blobs = lengths.map((length) => Uint8Array.from(bytes.subarray(at, (at += length))))
  return new Unpacker(blobs, unpacking).unpack(value)
}

class Packer {
  readonly #blobs: Uint8Array[]
  readonly #packing: Packing

  constructor(blobs: Uint8Array[], packing: Packing) {
    this.#blobs = blobs
    this.#packing = packing
  }

  pack(value: unknown, path: string, depth: number): unknown {
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return value
      case 'number':
        return Number.isFinite(value) && !Object.is(value, -0) ? value : tag('n', numeral(value))
      case 'undefined':
        return tag('u')
      case 'bigint':
        return tag('i', String(value))
      case 'function':
        return this.#function(value as Callable, path)
      case 'object':
        return value === null ? null : this.#object(value, path, depth)
      default:
        // Like JSON.stringify for a symbol.
        return tag('u')
    }
  }

  #function(value: Callable, path: string): unknown {
    const facts = this.#packing.functionAt?.(path, value)
    return facts ? tag('f', ...facts) : tag('u')
  }

  #object(value: object, path: string, depth: number): unknown {
    const id = this.#packing.referenceTo?.(value)
    if (id !== undefined) return tag('r', id)
    const holding = this.#packing.holding?.(value)
    if (holding?.className !== undefined)
      return tag('o', holding.id, holding.className, this.#data({ ...holding.facts }, path, depth))
    const data = this.#data(value, path, depth)
    return holding ? tag('h', holding.id, data) : data
  }

  #data(value: object, path: string, depth: number): unknown {
    if (this.#packing.isJson?.(path)) return this.#json(value)
    if (value instanceof Uint8Array) return tag('b', this.#blobs.push(value) - 1)
    if (value instanceof AbortSignal && this.#packing.signal)
      return tag('a', ...this.#packing.signal(value))
    if (value instanceof Error) return tag('e', this.pack(errorFactsOf(value), '', depth + 1))
    if (depth >= DEPTH_MAX) return this.#json(value)
    if (value instanceof Date) return tag('d', value.getTime())
    if (value instanceof Map) return tag('m', this.#list([...value].flat(), '', depth))
    if (value instanceof Set) return tag('s', this.#list([...value], '', depth))
    if (Array.isArray(value)) return this.#list(value, path, depth)
    return this.#record(value, path, depth)
  }

  #list(values: readonly unknown[], path: string, depth: number): unknown[] {
    return Array.from(values, (one, index) => this.pack(one, below(path, index, depth), depth + 1))
  }

  /** Members of arguments without a value stay, so that a misspelt option is refused also if it is a function. */
  #record(value: object, path: string, depth: number): unknown {
    const entries = Object.entries(value)
      .map(([key, one]) => [key, this.pack(one, below(path, key, depth), depth + 1)] as const)
      .filter(([, one]) => this.#packing.functionAt || !isUndefined(one))
    const isEscaped = entries.some(([key]) => key === '$' || key === '__proto__')
    return isEscaped ? tag('x', entries) : Object.fromEntries(entries)
  }

  /** Writes a separate JSON text, which the other side parses without decoding tags. */
  #json(value: object): unknown {
    try {
      const text = JSON.stringify(value) as string | undefined
      return text === undefined ? tag('u') : tag('j', this.#blobs.push(Buffer.from(text)) - 1)
    } catch (cause) {
      throw new MayflyError('INVALID', 'Cannot send the input: it is not JSON', { cause })
    }
  }
}

class Unpacker {
  readonly #blobs: readonly Uint8Array[]
  readonly #unpacking: Unpacking

  constructor(blobs: readonly Uint8Array[], unpacking: Unpacking) {
    this.#blobs = blobs
    this.#unpacking = unpacking
  }

  unpack(value: unknown): unknown {
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map((one) => this.unpack(one))
    if (Object.hasOwn(value, '$')) return this.#tagged((value as { $: readonly unknown[] }).$)
    const entries = Object.entries(value)
    return Object.fromEntries(entries.map(([key, one]) => [key, this.unpack(one)]))
  }

  #tagged([name, ...facts]: readonly unknown[]): unknown {
    const [first, second, third] = facts
    const { functionBy, signalBy, held, instance, remember } = this.#unpacking
    switch (name) {
      case 'u':
        return undefined
      case 'n':
        return Number(first)
      case 'i':
        return BigInt(first as string)
      case 'd':
        // JSON has null for the time of an invalid date.
        return new Date((first as number | null) ?? NaN)
      case 'b':
        return this.#blobs[first as number]
      case 'j':
        return parseJson(Buffer.from(this.#blobs[first as number]!).toString())
      case 'm':
        return new Map(pairs(this.unpack(first) as readonly unknown[]))
      case 's':
        return new Set(this.unpack(first) as readonly unknown[])
      case 'x':
        return Object.fromEntries(
          (first as readonly [string, unknown][]).map(([key, one]) => [key, this.unpack(one)]),
        )
      case 'e':
        return errorOf(this.unpack(first) as ErrorFacts)
      case 'f':
        return functionBy!(...facts)
      case 'a':
        return signalBy!(first as number, second as boolean, third as boolean)
      case 'r':
        return held!(first as number)
      case 'o':
        return instance!(first as number, second as string, this.unpack(third))
      case 'h': {
        const copy = this.unpack(second) as object
        remember!(first as number, copy)
        return copy
      }
      default:
        throw new MayflyError('PROTOCOL', `Cannot read a value of kind "${String(name)}"`)
    }
  }
}

function tag(...parts: readonly unknown[]): { readonly $: readonly unknown[] } {
  return { $: parts }
}

function isUndefined(packed: unknown): boolean {
  return (packed as { $?: readonly unknown[] } | null)?.$?.[0] === 'u'
}

/** Formats a number, including -0, for which `String` returns 0. */
function numeral(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

function below(path: string, key: string | number, depth: number): string {
  if (depth > PATH_DEPTH_MAX) return ''
  return path === '' ? String(key) : `${path}.${key}`
}

function pairs(flat: readonly unknown[]): readonly (readonly [unknown, unknown])[] {
  return Array.from({ length: flat.length / 2 }, (_, n) => [flat[2 * n], flat[2 * n + 1]] as const)
}

/**
 * Minimal DER (X.690) encoder for certificates: tag, length, value, nested. Encodes only; no untrusted input is
 * parsed here.
 */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([tag, ...lengthOf(content.length)]), content])
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts)
export const set = (...parts: readonly Uint8Array[]): Buffer => der(0x31, ...parts)
export const octets = (...parts: readonly Uint8Array[]): Buffer => der(0x04, ...parts)
export const utf8 = (text: string): Buffer => der(0x0c, Buffer.from(text))
export const truth = (): Buffer => der(0x01, Buffer.from([0xff]))
/** Explicit tag `[n]` around parts. */
export const explicit = (n: number, ...parts: readonly Uint8Array[]): Buffer =>
  der(0xa0 + n, ...parts)
/** Implicit tag `[n]` instead of a simple value's own. */
export const implicit = (n: number, value: Uint8Array): Buffer => der(0x80 + n, value)

/** A non-negative number, given as big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  const start = bytes.findIndex((byte) => byte !== 0)
  const short = start < 0 ? Buffer.from([0]) : bytes.subarray(start)
  return short[0]! & 0x80 ? der(0x02, Buffer.from([0]), short) : der(0x02, short)
}

/** A bit string; the last `unused` bits of the last byte are padding. */
export function bits(bytes: Uint8Array, unused = 0): Buffer {
  return der(0x03, Buffer.from([unused]), bytes)
}

/** A name such as `2.5.29.19`. */
export function oid(name: string): Buffer {
  const [first = 0, second = 0, ...rest] = name.split('.').map(Number)
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

/** UTCTime for 1950 to 2049, in seconds, as RFC 5280 requires. */
export function time(at: number): Buffer {
  return der(0x17, Buffer.from(`${new Date(at).toISOString().replace(/\D/g, '').slice(2, 14)}Z`))
}

function lengthOf(length: number): readonly number[] {
  if (length < 0x80) return [length]
  const bytes: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return [0x80 | bytes.length, ...bytes]
}

function base128(value: number): readonly number[] {
  const bytes = [value & 0x7f]
  for (let rest = value >> 7; rest > 0; rest >>= 7) bytes.unshift(0x80 | (rest & 0x7f))
  return bytes
}

/**
 * Writes the little of DER (X.690) that a certificate is made of: tag, length, value, nested. It only writes; nothing
 * here reads what a stranger sent.
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
/** `[n]` around parts. */
export const explicit = (n: number, ...parts: readonly Uint8Array[]): Buffer =>
  der(0xa0 + n, ...parts)
/** `[n]` in place of the tag of a simple value. */
export const implicit = (n: number, value: Uint8Array): Buffer => der(0x80 + n, value)

/** A non-negative number, given as its bytes. */
export function integer(bytes: Uint8Array): Buffer {
  const start = bytes.findIndex((byte) => byte !== 0)
  const short = start < 0 ? Buffer.from([0]) : bytes.subarray(start)
  return short[0]! & 0x80 ? der(0x02, Buffer.from([0]), short) : der(0x02, short)
}

/** Bits, of which the last `unused` of the last byte count for nothing. */
export function bits(bytes: Uint8Array, unused = 0): Buffer {
  return der(0x03, Buffer.from([unused]), bytes)
}

/** A name such as `2.5.29.19`. */
export function oid(name: string): Buffer {
  const [first = 0, second = 0, ...rest] = name.split('.').map(Number)
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

/** A time of 1950 to 2049, to the second: the form certificates have to have it in. */
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

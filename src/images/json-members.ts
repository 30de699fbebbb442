import { StrictJsonError } from '../lib/strict-json.ts'

const [QUOTE, COMMA, COLON, BACKSLASH, OPEN, CLOSE] = [0x22, 0x2c, 0x3a, 0x5c, 0x7b, 0x7d]
const ARRAY_OPEN = 0x5b
const ARRAY_CLOSE = 0x5d
const keyBytesMax = 1000

/**
 * Members of a JSON object whose values are objects, without parsing the whole: Debian's tracker has tens of
 * megabytes, and `readStrictJson` parses one value at a time. At this level only white space, keys, colons, commas and
 * objects are accepted. Throws StrictJsonError.
 */
export function* jsonMembers(bytes: Buffer): Generator<readonly [key: Buffer, value: Buffer]> {
  let at = skipSpace(bytes, 0)
  const expect = (byte: number) => {
    if (bytes[at] !== byte) throw new StrictJsonError('no object of objects', at)
    at = skipSpace(bytes, at + 1)
  }
  expect(OPEN)
  for (let isFirst = true; bytes[at] !== CLOSE; isFirst = false) {
    if (!isFirst) expect(COMMA)
    if (bytes[at] !== QUOTE) throw new StrictJsonError('no key', at)
    const keyEnd = stringEnd(bytes, at)
    if (keyEnd - at > keyBytesMax) throw new StrictJsonError('a key that is too long', at)
    const key = bytes.subarray(at, keyEnd)
    at = skipSpace(bytes, keyEnd)
    expect(COLON)
    if (bytes[at] !== OPEN) throw new StrictJsonError('no object', at)
    const end = objectEnd(bytes, at)
    yield [key, bytes.subarray(at, end)]
    at = skipSpace(bytes, end)
  }
  at = skipSpace(bytes, at + 1)
  if (at < bytes.length) throw new StrictJsonError('text after its end', at)
}

function skipSpace(bytes: Buffer, from: number): number {
  let at = from
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09)
    at += 1
  return at
}

/** Position after the closing quote. */
function stringEnd(bytes: Buffer, from: number): number {
  for (let at = from + 1; at < bytes.length; at += 1) {
    if (bytes[at] === BACKSLASH) at += 1
    else if (bytes[at] === QUOTE) return at + 1
  }
  throw new StrictJsonError('the text ends early', bytes.length)
}

/** Position after the closing brace. Other kinds of brackets are checked by the parser of the value. */
function objectEnd(bytes: Buffer, from: number): number {
  let depth = 0
  for (let at = from; at < bytes.length; at += 1) {
    const byte = bytes[at]
    if (byte === QUOTE) at = stringEnd(bytes, at) - 1
    else if (byte === OPEN || byte === ARRAY_OPEN) depth += 1
    else if (byte === CLOSE || byte === ARRAY_CLOSE) depth -= 1
    if (depth === 0) return at + 1
  }
  throw new StrictJsonError('the text ends early', bytes.length)
}

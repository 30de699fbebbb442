// TextEncoder and TextDecoder: UTF-8, UTF-16LE, and windows-1252, which the Encoding standard also calls
// "latin1".
import { P } from './primordials.js'

const LABELS = {
  __proto__: null,
  'utf-8': 'utf-8',
  utf8: 'utf-8',
  'unicode-1-1-utf-8': 'utf-8',
  'utf-16le': 'utf-16le',
  'utf-16': 'utf-16le',
  'ucs-2': 'utf-16le',
  latin1: 'windows-1252',
  'iso-8859-1': 'windows-1252',
  ascii: 'windows-1252',
  'us-ascii': 'windows-1252',
  'windows-1252': 'windows-1252',
}
const SPACES = /^[\t\n\f\r ]+|[\t\n\f\r ]+$/
// windows-1252 characters for U+0080 to U+009F, control characters in Latin-1.
const WINDOWS =
  '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f' +
  '\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178'

class TextEncoder {
  get encoding() {
    return 'utf-8'
  }
  encode(input = '') {
    const text = P.String(input)
    const bytes = new P.Uint8Array(utf8Length(text))
    write(text, bytes)
    return bytes
  }
  encodeInto(source, destination) {
    if (P.typedTag(destination) !== 'Uint8Array') {
      throw new P.TypeError('Cannot encode: the destination is not a Uint8Array')
    }
    return write(P.String(source), destination)
  }
}

function codePoint(text, index) {
  const unit = P.charCodeAt(text, index)
  if (unit < 0xd800 || unit > 0xdfff) return unit
  const next = index + 1 < text.length ? P.charCodeAt(text, index + 1) : 0
  if (unit > 0xdbff || next < 0xdc00 || next > 0xdfff) return 0xfffd
  return 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00)
}

const width = (point) => (point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4)

function utf8Length(text) {
  let length = 0
  for (let index = 0; index < text.length; index++) {
    const point = codePoint(text, index)
    if (point > 0xffff) index++
    length += width(point)
  }
  return length
}

function write(text, bytes) {
  const room = P.typedLength(bytes)
  let read = 0
  let written = 0
  while (read < text.length) {
    const point = codePoint(text, read)
    const size = width(point)
    if (written + size > room) break
    if (size === 1) bytes[written] = point
    else {
      bytes[written] = (0xf00 >> size) | (point >> (6 * (size - 1)))
      for (let at = 1; at < size; at++) {
        bytes[written + at] = 0x80 | ((point >> (6 * (size - 1 - at))) & 63)
      }
    }
    written += size
    read += point > 0xffff ? 2 : 1
  }
  return { read, written }
}

class TextDecoder {
  #encoding
  #fatal
  #ignoreBOM
  #state
  constructor(label = 'utf-8', options = {}) {
    const name = P.toLowerCase(trimmed(P.String(label)))
    this.#encoding = LABELS[name]
    if (this.#encoding === undefined) {
      throw new P.RangeError(
        'Cannot decode "' + P.slice(name, 0, 40) + '": the encoding is not known',
      )
    }
    this.#fatal = !!options?.fatal
    this.#ignoreBOM = !!options?.ignoreBOM
    this.#state = fresh()
  }
  get encoding() {
    return this.#encoding
  }
  get fatal() {
    return this.#fatal
  }
  get ignoreBOM() {
    return this.#ignoreBOM
  }
  decode(input, options) {
    const bytes = bytesOf(input)
    const state = this.#state
    const isLast = !options?.stream
    if (isLast) this.#state = fresh()
    const decoded = decoders[this.#encoding](bytes, state, isLast, this.#fatal)
    if (decoded === '' || state.hasBegun) return decoded
    state.hasBegun = true
    const hasMark = !this.#ignoreBOM && this.#encoding !== 'windows-1252'
    return hasMark && decoded[0] === '\ufeff' ? P.slice(decoded, 1) : decoded
  }
}

const fresh = () => ({
  __proto__: null,
  hasBegun: false,
  needed: 0,
  point: 0,
  lower: 0x80,
  upper: 0xbf,
  half: -1,
  lead: '',
})

function trimmed(text) {
  const short = P.slice(text, 0, 100)
  const front = P.regExpExec(SPACES, short)
  const rest = front !== null && front.index === 0 ? P.slice(short, front[0].length) : short
  const back = P.regExpExec(SPACES, rest)
  return back === null ? rest : P.slice(rest, 0, back.index)
}

function bytesOf(input) {
  if (input === undefined) return new P.Uint8Array(0)
  if (!P.isView(input)) {
    P.bufferByteLength(input)
    return new P.Uint8Array(input)
  }
  const isTyped = P.typedTag(input) !== undefined
  return new P.Uint8Array(
    isTyped ? P.typedBuffer(input) : P.viewBuffer(input),
    isTyped ? P.typedOffset(input) : P.viewOffset(input),
    isTyped ? P.typedByteLength(input) : P.viewByteLength(input),
  )
}

function bad(isFatal) {
  if (isFatal) throw new P.TypeError('Cannot decode: the bytes are not valid in this encoding')
  return '\ufffd'
}

function character(point) {
  if (point < 0x10000) return P.fromCharCode(point)
  return P.fromCharCode(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff))
}

function decodeUtf8(bytes, state, isLast, isFatal) {
  let text = ''
  const length = P.typedLength(bytes)
  for (let index = 0; index < length; index++) {
    const byte = bytes[index]
    if (state.needed === 0) {
      if (byte < 0x80) text += P.fromCharCode(byte)
      else if (!lead(state, byte)) text += bad(isFatal)
    } else if (byte < state.lower || byte > state.upper) {
      state.needed = 0
      expectAny(state)
      text += bad(isFatal)
      index--
    } else {
      expectAny(state)
      state.point = (state.point << 6) | (byte & 63)
      if (--state.needed === 0) text += character(state.point)
    }
  }
  if (isLast && state.needed > 0) text += bad(isFatal)
  return text
}

function expectAny(state) {
  state.lower = 0x80
  state.upper = 0xbf
}

/** The first byte of a sequence restricts the second: no overlong forms, no surrogates. */
function lead(state, byte) {
  if (byte >= 0xc2 && byte <= 0xdf) {
    state.needed = 1
    state.point = byte & 31
  } else if (byte >= 0xe0 && byte <= 0xef) {
    if (byte === 0xe0) state.lower = 0xa0
    if (byte === 0xed) state.upper = 0x9f
    state.needed = 2
    state.point = byte & 15
  } else if (byte >= 0xf0 && byte <= 0xf4) {
    if (byte === 0xf0) state.lower = 0x90
    if (byte === 0xf4) state.upper = 0x8f
    state.needed = 3
    state.point = byte & 7
  } else return false
  return true
}

function decodeUtf16(bytes, state, isLast, isFatal) {
  let text = ''
  const length = P.typedLength(bytes)
  for (let index = 0; index < length; index++) {
    if (state.half < 0) {
      state.half = bytes[index]
      continue
    }
    const unit = P.fromCharCode(state.half | (bytes[index] << 8))
    state.half = -1
    text += pair(state, unit, isFatal)
  }
  if (isLast && (state.half >= 0 || state.lead !== '')) text += bad(isFatal)
  return text
}

function pair(state, unit, isFatal) {
  const before = state.lead
  state.lead = ''
  const isLow = unit >= '\udc00' && unit <= '\udfff'
  if (before !== '' && isLow) return before + unit
  const stray = before === '' ? '' : bad(isFatal)
  if (isLow) return stray + bad(isFatal)
  if (unit < '\ud800' || unit > '\udbff') return stray + unit
  state.lead = unit
  return stray
}

function decodeWindows(bytes) {
  let text = ''
  const length = P.typedLength(bytes)
  for (let index = 0; index < length; index++) {
    const byte = bytes[index]
    text += byte >= 0x80 && byte <= 0x9f ? WINDOWS[byte - 0x80] : P.fromCharCode(byte)
  }
  return text
}

const decoders = {
  __proto__: null,
  'utf-8': decodeUtf8,
  'utf-16le': decodeUtf16,
  'windows-1252': decodeWindows,
}

const tag = (prototype, value) =>
  P.defineProperty(prototype, P.symbolToStringTag, { __proto__: null, value, configurable: true })
tag(TextEncoder.prototype, 'TextEncoder')
tag(TextDecoder.prototype, 'TextDecoder')

export { TextEncoder, TextDecoder }

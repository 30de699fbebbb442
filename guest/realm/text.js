// TextEncoder and TextDecoder, executed by the host, which supports every encoding of the standard. Bytes are sent as base64.
import { P } from './primordials.js'
import { ask } from './scope.js'

const TEXT_UNITS_MAX = 2 ** 26
const LABEL_UNITS_MAX = 100

class TextEncoder {
  get encoding() {
    return 'utf-8'
  }
  encode(input = '') {
    return P.fromBase64(ask('encode', bounded(P.String(input))))
  }
  encodeInto(source, destination) {
    if (P.typedTag(destination) !== 'Uint8Array') {
      throw new P.TypeError('Cannot encode: the destination is not a Uint8Array')
    }
    const room = P.typedLength(destination)
    const { read, bytes } = P.parse(ask('encode-into', bounded(P.String(source)), room))
    const written = P.fromBase64(bytes)
    P.typedSet(destination, written)
    return { read, written: P.typedLength(written) }
  }
}

function bounded(text) {
  if (text.length <= TEXT_UNITS_MAX) return text
  throw new P.RangeError('Cannot encode a text of more than ' + TEXT_UNITS_MAX + ' characters')
}

class TextDecoder {
  #encoding
  #fatal
  #ignoreBOM
  /** Number of the host's decoder with the parts so far; 0 for none. */
  #stream = 0
  constructor(label = 'utf-8', options = {}) {
    const name = P.slice(P.String(label), 0, LABEL_UNITS_MAX)
    this.#encoding = ask('encoding', name)
    if (this.#encoding === '') {
      throw new P.RangeError(
        'Cannot decode "' + P.slice(name, 0, 40) + '": the encoding is not known',
      )
    }
    this.#fatal = !!options?.fatal
    this.#ignoreBOM = !!options?.ignoreBOM
  }
  decode(input, options) {
    const bytes = P.toBase64(bytesOf(input))
    const isLast = !options?.stream
    const id = this.#stream || ask('decoder', this.#encoding, this.#fatal, this.#ignoreBOM)
    if (id === 0) throw new P.RangeError('Cannot decode: too many texts are decoded in parts')
    this.#stream = 0
    const text = ask('decode', id, bytes, isLast)
    if (text[0] === '=') {
      if (!isLast) this.#stream = id
      return P.slice(text, 1)
    }
    throw new P.TypeError('Cannot decode: the bytes are not valid in this encoding')
  }
  static {
    P.getters(TextDecoder.prototype, {
      __proto__: null,
      encoding: (self) => self.#encoding,
      fatal: (self) => self.#fatal,
      ignoreBOM: (self) => self.#ignoreBOM,
    })
  }
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

P.tag(TextEncoder.prototype, 'TextEncoder')
P.tag(TextDecoder.prototype, 'TextDecoder')

export { TextEncoder, TextDecoder }

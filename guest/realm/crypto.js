// Random bytes come from the host as text, one character a byte, at most 64 KiB a call.
import { P } from './primordials.js'
import { ask, part } from './scope.js'

const BYTES_MAX = 65_536
const INTEGERS = new P.Map()
const names = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'BigInt64Array',
  'BigUint64Array',
]
for (let index = 0; index < names.length; index++) P.mapSet(INTEGERS, names[index], true)

class Crypto {
  getRandomValues(array) {
    if (!P.mapHas(INTEGERS, tagOf(array))) {
      throw refuse('Cannot fill: expected an array of integers', 'TypeMismatchError')
    }
    const length = P.typedByteLength(array)
    if (length > BYTES_MAX) {
      throw refuse('Cannot fill: more than 65,536 bytes in one call', 'QuotaExceededError')
    }
    const bytes = new P.Uint8Array(P.typedBuffer(array), P.typedOffset(array), length)
    const random = ask('random', length)
    for (let index = 0; index < length; index++) bytes[index] = P.charCodeAt(random, index)
    return array
  }
  randomUUID() {
    return ask('uuid')
  }
}

const tagOf = (value) => (P.isView(value) ? P.typedTag(value) : undefined)
const refuse = (message, name) => new (part('dom-exception').DOMException)(message, name)

P.tag(Crypto.prototype, 'Crypto')
const crypto = new Crypto()

export { crypto }

import { P } from './primordials.js'
import { part } from './scope.js'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const SPACE = /[\t\n\f\r ]/
const values = new P.Map()
for (let index = 0; index < 64; index++) P.mapSet(values, ALPHABET[index], index)

const invalid = (what) => new (part('dom-exception').DOMException)(what, 'InvalidCharacterError')

function btoa(data) {
  const text = P.String(data)
  let out = ''
  for (let index = 0; index < text.length; index += 3) {
    const left = text.length - index
    const a = unit(text, index)
    const b = left > 1 ? unit(text, index + 1) : 0
    const c = left > 2 ? unit(text, index + 2) : 0
    const word = (a << 16) | (b << 8) | c
    out += ALPHABET[word >> 18] + ALPHABET[(word >> 12) & 63]
    out += (left > 1 ? ALPHABET[(word >> 6) & 63] : '=') + (left > 2 ? ALPHABET[word & 63] : '=')
  }
  return out
}

function unit(text, index) {
  const code = P.charCodeAt(text, index)
  if (code > 255) throw invalid('Cannot encode: the text holds characters above U+00FF')
  return code
}

function atob(data) {
  const text = stripped(P.String(data))
  if (text.length % 4 === 1) throw invalid('Cannot decode: the text is not base64')
  let out = ''
  let word = 0
  let bits = 0
  for (let index = 0; index < text.length; index++) {
    const value = P.mapGet(values, text[index])
    if (value === undefined) throw invalid('Cannot decode: the text is not base64')
    word = ((word << 6) | value) & 0xffffff
    bits += 6
    if (bits >= 8) out += P.fromCharCode((word >> (bits -= 8)) & 255)
  }
  return out
}

function stripped(text) {
  let kept = ''
  for (let index = 0; index < text.length; index++) {
    if (P.regExpExec(SPACE, text[index]) === null) kept += text[index]
  }
  if (kept.length % 4 !== 0) return kept
  if (P.slice(kept, -2) === '==') return P.slice(kept, 0, -2)
  return P.slice(kept, -1) === '=' ? P.slice(kept, 0, -1) : kept
}

export { atob, btoa }

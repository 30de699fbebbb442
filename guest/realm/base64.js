import { P } from './primordials.js'
import { part } from './scope.js'

const invalid = (what) => new (part('dom-exception').DOMException)(what, 'InvalidCharacterError')

function btoa(data) {
  const text = P.String(data)
  const bytes = new P.Uint8Array(text.length)
  for (let index = 0; index < text.length; index++) {
    const code = P.charCodeAt(text, index)
    if (code > 255) throw invalid('Cannot encode: the text holds characters above U+00FF')
    bytes[index] = code
  }
  return P.toBase64(bytes)
}

function atob(data) {
  const bytes = bytesOf(P.String(data))
  const length = P.typedLength(bytes)
  let out = ''
  for (let index = 0; index < length; index++) out += P.fromCharCode(bytes[index])
  return out
}

/** V8's default is the forgiving decoder of the HTML standard. */
function bytesOf(text) {
  try {
    return P.fromBase64(text)
  } catch {
    throw invalid('Cannot decode: the text is not base64')
  }
}

export { atob, btoa }

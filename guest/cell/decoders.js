/** Limit of texts decoded in parts (streaming) at the same time. */
const OPEN_MAX = 10_000

/** Streaming decoders of a job, by number; removed with the last part of their text. */
export class Decoders {
  #open = new Map()
  #last = 0

  /** Number of a new decoder; 0 at the limit. @param {string} encoding */
  open(encoding, fatal, ignoreBOM) {
    if (this.#open.size >= OPEN_MAX) return 0
    this.#open.set(++this.#last, new TextDecoder(encoding, { fatal, ignoreBOM }))
    return this.#last
  }

  /** Returns `=` and the text, or `!` for bytes that a fatal decoder refuses. @param {string} base64 */
  decode(id, base64, isLast) {
    const decoder = this.#open.get(id)
    if (isLast) this.#open.delete(id)
    try {
      return `=${decoder.decode(Buffer.from(base64, 'base64'), { stream: !isLast })}`
    } catch {
      this.#open.delete(id)
      return '!'
    }
  }
}

/** Name of an encoding, or `''` for an unknown label. @param {string} label */
export function encodingOf(label) {
  try {
    return new TextDecoder(label).encoding
  } catch {
    return ''
  }
}

/** Encodes as much of a text as fits, as JSON. @param {string} text @param {number} room */
export function encodedInto(text, room) {
  const bytes = Buffer.alloc(Math.min(room, 3 * text.length))
  const { read, written } = new TextEncoder().encodeInto(text, bytes)
  return JSON.stringify({ read, bytes: bytes.toString('base64', 0, written) })
}

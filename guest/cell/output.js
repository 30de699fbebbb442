/**
 * An output stream of a job, in chunks of at most 64 KiB. The server keeps its beginning and its end; what is far beyond its byte
 * limit, as of a loop without end, is dropped here. Rapid output is batched;
 * output after a pause is sent at once, because the next statement may never end.
 */
export class Output {
  /** True if far more was printed than is kept, as by a loop without end. */
  isFlood = false
  /** @type {Error | undefined} */
  #lost
  /** @type {Error | undefined} */
  #held
  #write
  #room
  #text = ''
  #flushedAt = 0
  #changes = 0

  /** @param {(text: string) => void} write may block @param {number} bytesMax */
  constructor(write, bytesMax) {
    this.#write = write
    this.#room = bytesMax + BEYOND_BYTES_MAX
  }

  /** Error that prevented delivery of some output. @returns {Error | undefined} */
  get lost() {
    return this.#lost ?? (this.#text === '' ? undefined : this.#held)
  }

  /** @param {string} text */
  add(text) {
    if (this.isFlood) return
    this.#text += this.#cut(text)
    if (this.#text.length >= CHUNK_UNITS || performance.now() - this.#flushedAt > GATHER_MS) {
      this.flush()
    }
  }

  /**
   * Sends what is held, before the other stream of the job takes a text: so the order of both is kept. Bounded, because
   * each change of the stream takes a frame of its own.
   */
  giveWay() {
    if (this.#text !== '' && this.#changes++ < CHANGES_MAX) this.flush()
  }

  flush() {
    const text = this.#text
    if (text === '') return
    this.#text = ''
    for (let from = 0; from < text.length;) {
      const to = boundary(text, Math.min(text.length, from + CHUNK_UNITS))
      if (!this.#pass(text.slice(from, to))) {
        this.#text = text.slice(from)
        return
      }
      from = to
    }
    this.#flushedAt = performance.now()
  }

  /** False on stack exhaustion by the job; retried with a shorter stack. */
  #pass(text) {
    try {
      this.#write(text)
    } catch (error) {
      if (error instanceof RangeError) {
        this.#held = error
        return false
      }
      this.#lost ??= error
    }
    return true
  }

  #cut(text) {
    const bytes = Buffer.byteLength(text)
    if (bytes <= this.#room) {
      this.#room -= bytes
      return text
    }
    this.isFlood = true
    return head(text, this.#room)
  }
}

/** At most three bytes a unit: under 64 KiB. */
const CHUNK_UNITS = 16_384
const GATHER_MS = 2
const CHANGES_MAX = 1000
/** The other stream. */
export const OTHER = /** @type {const} */ ({ stdout: 'stderr', stderr: 'stdout' })
/** As for programs (`BEYOND_BYTES_MAX` of `output-stream.ts`). */
const BEYOND_BYTES_MAX = 8 * 2 ** 20

/** Longest prefix of `text` within `bytesMax` bytes of UTF-8. */
function head(text, bytesMax) {
  let low = 0
  let high = Math.min(text.length, bytesMax)
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (Buffer.byteLength(text.slice(0, middle)) <= bytesMax) low = middle
    else high = middle - 1
  }
  return text.slice(0, boundary(text, low))
}

const isHigh = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xd800
const isLow = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xdc00

/** Avoids a cut between the halves of a surrogate pair. */
function boundary(text, at) {
  const isPair = at < text.length && at > 1 && isHigh(text, at - 1) && isLow(text, at)
  return isPair ? at - 1 : at
}

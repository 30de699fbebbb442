/** Who hears a stream while it runs; a promise holds the guest back. */
export type Listener = (text: string) => void | Promise<void>

const noBytes = new Uint8Array(0)
/** First room made for a stream that has anything to say. */
const firstBytes = 4096

/**
 * The incremental half of the gate, for one stream. Keeps at most `bytesMax` bytes and marks what it cut; a cut
 * falls between characters. What is not UTF-8 becomes U+FFFD, also over the borders of chunks, and the listener
 * hears exactly the text that is answered in the end. Control characters pass: in JSON they are data, and what
 * prints to a terminal calls `sanitise`.
 */
export class OutputStream {
  isTruncated = false
  readonly #bytesMax: number
  readonly #listener: Listener | undefined
  #decoder: TextDecoder | undefined
  #bytes = noBytes
  #length = 0
  #isOpen = true
  #isHeard: boolean

  constructor(bytesMax: number, listener?: Listener) {
    this.#bytesMax = bytesMax
    this.#listener = listener
    this.#isHeard = listener !== undefined
  }

  take(chunk: Uint8Array): void | Promise<void> {
    if (!this.#isOpen || this.isTruncated) return
    const kept = chunk.subarray(0, this.#bytesMax - this.#length)
    this.isTruncated = kept.length < chunk.length
    this.#append(kept)
    if (!this.#isHeard) return
    this.#decoder ??= newDecoder()
    return this.#tell(this.#decoder.decode(kept, { stream: true }))
  }

  /** All of it. A character that was never finished is dropped where the stream was cut, else U+FFFD. */
  close(): string {
    this.#isOpen = false
    if (!this.isTruncated && this.#decoder) void this.#tell(this.#decoder.decode())
    if (this.#length === 0) return ''
    return newDecoder().decode(this.#bytes.subarray(0, this.#length), { stream: this.isTruncated })
  }

  /** Copied, since the chunk may be a window on a buffer that will be used again. */
  #append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(Math.max(2 * length, firstBytes), this.#bytesMax))
      grown.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = grown
    }
    this.#bytes.set(chunk, this.#length)
    this.#length = length
  }

  /** A listener that breaks is not told any more; the job goes on. */
  #tell(text: string): void | Promise<void> {
    if (text === '' || !this.#isHeard) return
    try {
      return this.#listener!(text)?.catch(() => this.#leave())
    } catch {
      this.#leave()
    }
  }

  #leave(): void {
    this.#isHeard = false
  }
}

function newDecoder(): TextDecoder {
  return new TextDecoder('utf-8', { ignoreBOM: true })
}

/** Who hears a stream while it runs; a promise holds the guest back. */
export type Listener = (text: string) => void | Promise<void>

const noBytes = new Uint8Array(0)
/** What the end repeats, at most, of a stream that somebody has heard: 1 MiB, so that a long one is not held. */
export const repeatedBytesMax = 2 ** 20
/** First room made for a stream that has anything to say. */
const firstBytes = 4096

/**
 * The incremental half of the gate, for one stream. Keeps at most `bytesMax` bytes and marks what it cut; a cut
 * falls between characters. What is not UTF-8 becomes U+FFFD, also over the borders of chunks, and the listener
 * hears exactly the text that is answered in the end, and what comes behind its first MiB too. Control characters pass: in JSON they are data, and what
 * prints to a terminal calls `sanitise`.
 */
export class OutputStream {
  readonly #bytesMax: number
  readonly #repeatedMax: number
  readonly #listener: Listener | undefined
  #decoder: TextDecoder | undefined
  #bytes = noBytes
  #length = 0
  #passed = 0
  #isCut = false
  #isOpen = true
  #isHeard: boolean

  constructor(bytesMax: number, listener?: Listener) {
    this.#bytesMax = bytesMax
    this.#repeatedMax = listener ? Math.min(bytesMax, repeatedBytesMax) : bytesMax
    this.#listener = listener
    this.#isHeard = listener !== undefined
  }

  take(chunk: Uint8Array): void | Promise<void> {
    if (!this.#isOpen || this.#isCut) return
    const kept = chunk.subarray(0, this.#bytesMax - this.#passed)
    this.#passed += kept.length
    this.#isCut = kept.length < chunk.length
    this.#append(kept.subarray(0, this.#repeatedMax - this.#length))
    if (!this.#isHeard) return
    this.#decoder ??= newDecoder()
    return this.#tell(this.#decoder.decode(kept, { stream: true }))
  }

  /** Whether the text of the end is not all there was. */
  get isTruncated(): boolean {
    return this.#isCut || this.#length < this.#passed
  }

  /** All of it. A character that was never finished is dropped where the stream was cut, else U+FFFD. */
  close(): string {
    this.#isOpen = false
    if (!this.#isCut && this.#decoder) void this.#tell(this.#decoder.decode())
    if (this.#length === 0) return ''
    return newDecoder().decode(this.#bytes.subarray(0, this.#length), { stream: this.isTruncated })
  }

  /** Copied, since the chunk may be a window on a buffer that will be used again. */
  #append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(Math.max(2 * length, firstBytes), this.#repeatedMax))
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

/** Live listener; its promise is back-pressure on the guest. */
export type StreamListener = (text: string) => void | Promise<void>

const noBytes = new Uint8Array(0)
/** Final text of a stream that had a listener: at most 1 MiB, to bound memory. */
export const repeatedBytesMax = 2 ** 20
/** Initial buffer size. */
const firstBytes = 4096

/**
 * Incremental half of the gate, for one stream. Stores at most `bytesMax` bytes and marks truncation; cuts fall
 * between characters. Invalid UTF-8 becomes U+FFFD, across chunk borders too, and the listener receives exactly the
 * final text (and the text beyond its first MiB). Control characters pass: in JSON they are data; terminal output
 * goes through `sanitise`.
 */
export class OutputStream {
  readonly #bytesMax: number
  readonly #repeatedMax: number
  readonly #listener: StreamListener | undefined
  #decoder: TextDecoder | undefined
  #bytes = noBytes
  #length = 0
  #passed = 0
  #isCut = false
  #isOpen = true
  #isHeard: boolean

  constructor(bytesMax: number, listener?: StreamListener) {
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

  /** True if the final text is incomplete. */
  get isTruncated(): boolean {
    return this.#isCut || this.#length < this.#passed
  }

  /** Final text. An incomplete last character is dropped if the stream was cut, else U+FFFD. */
  close(): string {
    this.#isOpen = false
    if (!this.#isCut && this.#decoder) void this.#tell(this.#decoder.decode())
    if (this.#length === 0) return ''
    return newDecoder().decode(this.#bytes.subarray(0, this.#length), { stream: this.isTruncated })
  }

  /** Copies, because the chunk may be a view of a reused buffer. */
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

  /** Unsubscribes a listener that throws; the job continues. */
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

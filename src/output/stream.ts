import { isUtf8 } from 'node:buffer'
import { openTailBytes } from '../lib/utf8-tail.ts'

/** Live listener; its promise is back-pressure on the guest. `bytes`: the output itself, where its text is not all of it. */
export type StreamListener = (text: string, bytes?: Uint8Array) => void | Promise<void>

const noBytes = new Uint8Array(0)
/** Final text of a stream that had a listener: at most 1 MiB, to bound memory. */
export const repeatedBytesMax = 2 ** 20
/** Initial buffer size. */
const firstBytes = 4096

/**
 * Incremental half of the gate, for one stream. Stores at most `bytesMax` bytes and marks truncation; cuts fall
 * between characters. Invalid UTF-8 becomes U+FFFD, across chunk borders too, and the listener receives exactly the
 * final text (and the text beyond its first MiB), with the bytes where they are not UTF-8. Control characters pass: in
 * JSON they are data; terminal output goes through `sanitise`.
 */
export class OutputStream {
  readonly #bytesMax: number
  readonly #repeatedMax: number
  readonly #listener: StreamListener | undefined
  /** Beginning of a character that the next chunk may end: not told yet. */
  #open = noBytes
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
    const all = this.#open.length === 0 ? kept : Buffer.concat([this.#open, kept])
    const whole = all.subarray(0, all.length - openTailBytes(all))
    this.#open = whole.length === all.length ? noBytes : new Uint8Array(all.subarray(whole.length))
    return this.#tell(whole)
  }

  /** True if the final text is incomplete. */
  get isTruncated(): boolean {
    return this.#isCut || this.#length < this.#passed
  }

  /** Final text. An incomplete last character is dropped if the stream was cut, else U+FFFD. */
  close(): string {
    this.#isOpen = false
    if (!this.#isCut) void this.#tell(this.#open)
    this.#open = noBytes
    return textOf(this.#final)
  }

  /** Bytes of the final text where they are not UTF-8. */
  get unreadable(): Uint8Array | undefined {
    return bytesBeside(this.#final)
  }

  get #final(): Uint8Array {
    const held = this.#bytes.subarray(0, this.#length)
    return this.isTruncated ? held.subarray(0, held.length - openTailBytes(held)) : held
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
  #tell(bytes: Uint8Array): void | Promise<void> {
    if (bytes.length === 0 || !this.#isHeard) return
    try {
      return this.#listener!(textOf(bytes), bytesBeside(bytes))?.catch(() => this.#leave())
    } catch {
      this.#leave()
    }
  }

  #leave(): void {
    this.#isHeard = false
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

function textOf(bytes: Uint8Array): string {
  return bytes.length === 0 ? '' : decoder.decode(bytes)
}

/** A copy, because a listener may keep it for longer than the chunk lives. */
function bytesBeside(bytes: Uint8Array): Uint8Array | undefined {
  return isUtf8(bytes) ? undefined : Buffer.from(bytes)
}

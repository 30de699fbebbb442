import { isUtf8 } from 'node:buffer'
import { BoundedOutput, type KeptOutput } from '../lib/bounded-output.ts'
import { openTailBytes } from '../lib/utf8-tail.ts'

/** Live listener; its promise is back-pressure on the guest. `bytes`: the output itself, where its text is not all of it. */
export type StreamListener = (text: string, bytes?: Uint8Array) => void | Promise<void>

const noBytes = new Uint8Array(0)
/** Final text of a stream that had a listener: at most 1 MiB, to bound memory. */
export const repeatedBytesMax = 2 ** 20
/** Redraws beyond the limit that a listener gets live, as much as a wall lets a program print beyond its limit. */
const redrawnBytesMax = 8 * 2 ** 20

export interface OutputStreamOptions {
  readonly listener?: StreamListener | undefined
  /** Bytes of the whole output that are kept beside the text, where the output is larger than its limit. */
  readonly wholeMax?: number | undefined
}

/**
 * Incremental half of the gate, for one stream. Keeps at most `bytesMax` bytes: the beginning and the end, cut at lines, with a
 * line between that counts what is left out. Invalid UTF-8 becomes U+FFFD, across chunk borders too. The listener receives the
 * beginning at once and the end at `close`, with the bytes where they are not UTF-8, and all redraws of a line; the final text has
 * at most 1 MiB then. Control characters pass: in JSON they are data; terminal output goes through `sanitise`.
 */
export class OutputStream {
  readonly #bytesMax: number
  readonly #textMax: number
  readonly #wholeMax: number
  readonly #listener: StreamListener | undefined
  readonly #kept: BoundedOutput
  /** Beginning of a character that the next chunk may end: not told yet. */
  #open = noBytes
  /** Bytes that the listener got, or that wait in `#open`. */
  #told = 0
  #isHeard: boolean
  /** Output within the limit, and within the final text; undefined while the stream is open. */
  #ended: { readonly told: KeptOutput; readonly text: KeptOutput } | undefined

  constructor(bytesMax: number, { listener, wholeMax = 0 }: OutputStreamOptions = {}) {
    this.#bytesMax = bytesMax
    this.#textMax = listener ? Math.min(bytesMax, repeatedBytesMax) : bytesMax
    this.#wholeMax = wholeMax > bytesMax ? wholeMax : 0
    this.#kept = new BoundedOutput(bytesMax, Math.max(this.#textMax, this.#wholeMax))
    this.#listener = listener
    this.#isHeard = listener !== undefined
  }

  take(chunk: Uint8Array): void | Promise<void> {
    if (this.#ended) return
    const from = this.#kept.total
    this.#kept.add(chunk)
    if (!this.#isHeard) return
    const certain = Math.min(this.#kept.certain, this.#bytesMax + redrawnBytesMax)
    if (certain <= this.#told) return
    if (this.#told === from) return this.#pass(chunk.subarray(0, certain - from))
    const since = this.#kept.since(this.#told)
    return this.#pass(since.subarray(0, certain - this.#told))
  }

  /** Bytes by which the output exceeds its limit, and which nobody got; 0 if there are none, and before `close`. */
  get leftOut(): number {
    return this.#kept.isOver ? (this.#ended?.told.leftOut ?? 0) : 0
  }

  /** True if the final text is incomplete. */
  get isTruncated(): boolean {
    return (this.#ended?.text.leftOut ?? 0) > 0
  }

  /** Final text, where an incomplete last character of a whole stream is U+FFFD. The listener gets what it has not. */
  close(): string {
    const text = this.#kept.within(this.#textMax)
    const told = this.#textMax === this.#bytesMax ? text : this.#kept.within(this.#bytesMax)
    this.#ended ??= { told, text }
    if (this.#isHeard) this.#tellRest(told)
    return textOf(text.bytes)
  }

  /** Bytes of the final text where they are not UTF-8. */
  get unreadable(): Uint8Array | undefined {
    return this.#ended && bytesBeside(this.#ended.text.bytes)
  }

  /** The output up to `wholeMax` bytes; undefined unless it is larger than its limit, and than its text. */
  get whole(): Uint8Array | undefined {
    if (this.#wholeMax === 0 || !this.#kept.isOver) return undefined
    return Uint8Array.from(this.#kept.within(this.#wholeMax).bytes)
  }

  #pass(bytes: Uint8Array): void | Promise<void> {
    this.#told += bytes.length
    const all = this.#open.length === 0 ? bytes : Buffer.concat([this.#open, bytes])
    const whole = all.subarray(0, all.length - openTailBytes(all))
    this.#open = whole.length === all.length ? noBytes : new Uint8Array(all.subarray(whole.length))
    return this.#tell(whole)
  }

  #tellRest({ end }: KeptOutput): void {
    if (!this.#kept.isOver) {
      void this.#pass(this.#kept.since(this.#told))
      void this.#tell(this.#open)
    } else void this.#tell(end)
    this.#open = noBytes
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

import { Duplex } from 'node:stream'

/** Windows of the carrier's wire: bytes that each side may send ahead. guest/carrier/wire.h has the same. */
export const windowBytes = { own: 262_144, connection: 65_536 } as const
const DATA_BYTES_MAX = 32_768
/** Pieces below this size are copied if they wait: each would keep the chunk of up to 64 KiB that it is a view of. */
const COPIED_BYTES = 4_096

/** The connection that carries a stream. */
export interface StreamCarrier {
  data(stream: number, bytes: Buffer): void
  end(stream: number): void
  credit(stream: number, bytes: number): void
  /** Called when the stream is closed in both directions. */
  closed(stream: number): void
  /** Sets whether this stream keeps the server's process alive (ref, unref). */
  keep(stream: number, keep: boolean): void
  /** True while neither data nor credit may be sent. */
  isHeld(): boolean
}

/** State of a stream while the carrier is paused. */
export interface StreamPosition {
  /** Bytes that either side may send. */
  readonly room: number
  readonly window: number
  /** Bytes received and not yet credited. */
  readonly owed: number
  readonly hasEnded: boolean
}

interface PendingWrite {
  readonly bytes: Buffer
  at: number
  readonly done: () => void
}

/**
 * Stream of a guest, with the parts of a net.Socket that its readers use. Back-pressure is by windows in both
 * directions: bytes are credited once the reader has consumed them, and bytes beyond the guest's window are queued
 * here.
 */
export class GuestStream extends Duplex {
  readonly number: number
  readonly #carrier: StreamCarrier
  /** Bytes that may be sent to the guest. */
  #room: number
  /** Bytes that the guest may send. */
  #window: number
  #received = 0
  #credited = 0
  #pending: PendingWrite | undefined
  #accounts = false
  /** Room for pieces that wait. */
  #spare = Buffer.alloc(0)
  #hasEnded = false

  /** `from`: continues a stream of a guest that was copied. */
  constructor(carrier: StreamCarrier, number: number, window: number, from?: StreamPosition) {
    super({ allowHalfOpen: false, highWaterMark: window })
    this.#carrier = carrier
    this.number = number
    this.#room = from?.room ?? window
    this.#window = from?.window ?? window
    this.#received = from?.owed ?? 0
    if (from?.hasEnded) this.receiveEnd()
  }

  get position(): StreamPosition {
    const owed = this.#received - this.#credited
    return { room: this.#room, window: this.#window, owed, hasEnded: this.#hasEnded }
  }

  /** True while written bytes wait for room in the window, or for a paused carrier. */
  get isWaiting(): boolean {
    return this.#pending !== undefined || this.writableLength > 0
  }

  /** Sends bytes that were queued while the carrier was paused. */
  release(): void {
    this.#send()
    this.#account()
  }

  /** Receives bytes of the guest. Throws RangeError beyond its window, and after its end. */
  receive(bytes: Buffer): void {
    this.#window -= bytes.length
    if (this.#window < 0 || this.#hasEnded || bytes.length === 0)
      throw new RangeError('a stream has more bytes than it may send')
    // Without a reader, late bytes are dropped and not credited.
    if (this.destroyed) return
    this.#received += bytes.length
    this.push(this.#waits && bytes.length < COPIED_BYTES ? this.#copied(bytes) : bytes)
    this.#account()
  }

  /** True unless its reader takes the next bytes at once. */
  get #waits(): boolean {
    return this.readableFlowing !== true || this.readableLength > 0
  }

  #copied(bytes: Buffer): Buffer {
    if (this.#spare.length < bytes.length) this.#spare = Buffer.allocUnsafeSlow(COPIED_BYTES)
    const copied = this.#spare.subarray(0, bytes.length)
    this.#spare = this.#spare.subarray(bytes.length)
    bytes.copy(copied)
    return copied
  }

  /** Receives the end (EOF) of the guest's direction. */
  receiveEnd(): void {
    if (!this.destroyed && !this.#hasEnded) this.push(null)
    this.#hasEnded = true
  }

  /** True after the end of the guest's direction. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Receives credit of the guest. Throws RangeError for more than the bytes sent. */
  receiveCredit(bytes: number, window: number): void {
    this.#room += bytes
    if (bytes === 0 || this.#room > window) throw new RangeError('a stream has too much credit')
    this.#send()
  }

  ref(): this {
    this.#carrier.keep(this.number, true)
    return this
  }

  unref(): this {
    this.#carrier.keep(this.number, false)
    return this
  }

  override _read(): void {
    // Bytes of this read leave the readable buffer only in the next turn of the event loop, so they are counted then.
    if (this.#accounts) return
    this.#accounts = true
    setImmediate(() => {
      this.#accounts = false
      this.#account()
    })
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.#pending = { bytes, at: 0, done }
    this.#send()
  }

  override _final(done: () => void): void {
    this.#carrier.end(this.number)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#pending = undefined
    this.#carrier.closed(this.number)
    done(error)
  }

  /** Credits the bytes that its reader has consumed. */
  #account(): void {
    const taken = this.#received - this.readableLength - this.#credited
    if (this.destroyed || taken <= 0 || this.#carrier.isHeld()) return
    if (taken < DATA_BYTES_MAX && this.readableLength > 0) return
    this.#credited += taken
    this.#window += taken
    this.#carrier.credit(this.number, taken)
  }

  #send(): void {
    const pending = this.#pending
    if (!pending || this.#carrier.isHeld()) return
    while (this.#room > 0 && pending.at < pending.bytes.length) {
      const most = Math.min(this.#room, DATA_BYTES_MAX)
      const piece = pending.bytes.subarray(pending.at, pending.at + most)
      this.#room -= piece.length
      pending.at += piece.length
      this.#carrier.data(this.number, piece)
    }
    if (pending.at < pending.bytes.length) return
    this.#pending = undefined
    pending.done()
  }
}

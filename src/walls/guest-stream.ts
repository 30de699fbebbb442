import { Duplex } from 'node:stream'

/** Windows of the carrier's wire: bytes that each side may send ahead. guest/carrier/wire.h has the same. */
export const windowBytes = { own: 262_144, connection: 65_536 } as const
const DATA_BYTES_MAX = 32_768
/** Pieces below this size that wait are copied together: each would keep the chunk of up to 64 KiB that it is a view of. */
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

/** Bytes that wait for the reader, in a buffer that may have room for more. */
interface WaitingPiece {
  readonly buffer: Buffer
  used: number
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
  /** Bytes that the reader has not asked for, outside of the buffer of the Duplex, which keeps an object for each piece. */
  readonly #waiting: WaitingPiece[] = []
  #waitingBytes = 0
  /** True while the reader takes the next bytes at once. */
  #isAsked = false
  #hasEnded = false

  /** `from`: continues a stream of a guest that was copied. */
  constructor(carrier: StreamCarrier, number: number, window: number, from?: StreamPosition) {
    super({ allowHalfOpen: false, readableHighWaterMark: 1, writableHighWaterMark: window })
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
    if (this.#isAsked) this.#isAsked = this.push(bytes)
    else this.#wait(bytes)
    this.#account()
  }

  #wait(bytes: Buffer): void {
    const last = this.#waiting.at(-1)
    this.#waitingBytes += bytes.length
    if (last && last.used + bytes.length <= last.buffer.length)
      return void (last.used += bytes.copy(last.buffer, last.used))
    if (bytes.length >= COPIED_BYTES)
      return void this.#waiting.push({ buffer: bytes, used: bytes.length })
    const buffer = Buffer.allocUnsafeSlow(COPIED_BYTES)
    this.#waiting.push({ buffer, used: bytes.copy(buffer) })
  }

  /** Gives the reader what waits, as far as it asks for it, and then the end. */
  #feed(): void {
    while (this.#isAsked) {
      const next = this.#waiting.shift()
      if (!next) break
      this.#waitingBytes -= next.used
      this.#isAsked = this.push(next.buffer.subarray(0, next.used))
    }
    if (this.#hasEnded && this.#waiting.length === 0) this.push(null)
  }

  /** Receives the end (EOF) of the guest's direction. */
  receiveEnd(): void {
    if (this.destroyed || this.#hasEnded) return void (this.#hasEnded = true)
    this.#hasEnded = true
    this.#feed()
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

  /** Bytes that the reader has not taken. */
  get unreadBytes(): number {
    return this.readableLength + this.#waitingBytes
  }

  override _read(): void {
    this.#isAsked = true
    this.#feed()
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
    this.#waiting.length = 0
    this.#waitingBytes = 0
    this.#carrier.closed(this.number)
    done(error)
  }

  /** Credits the bytes that its reader has consumed. */
  #account(): void {
    const unread = this.unreadBytes
    const taken = this.#received - unread - this.#credited
    if (this.destroyed || taken <= 0 || this.#carrier.isHeld()) return
    if (taken < DATA_BYTES_MAX && unread > 0) return
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

/** Bytes that were received from a wall and that its reader has not taken. */
export function unreadBytesOf(stream: Duplex): number {
  return stream instanceof GuestStream ? stream.unreadBytes : stream.readableLength
}

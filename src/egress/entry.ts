import type { Socket } from 'node:net'
import type { Moved } from './budget.ts'
import type { Caller } from './callers.ts'
import type { EgressRequest, Verdict } from './rules.ts'

export type Told = Pick<EgressRequest, 'host' | 'port' | 'method'> & { readonly scheme: string }

/** What was decided, and for whoever runs the server alone more of why: neither a guest nor its outcome has that. */
export interface Ruling extends Verdict {
  readonly detail?: string | undefined
}

/** Where an entry says what becomes of it. */
export interface Book {
  maySend(bytes: number): boolean
  count(moved: Moved): void
  say(point: 'egress/cut', entry: Entry): void
  sayClosed(entry: Entry): void
}

const recordBytesMax = 16_384
/** Of one record of TLS 1.2 or 1.3: its head, an IV of 16 bytes, a MAC of 48 and as much padding as a cipher takes. */
const recordExtraBytesMax = 96

/** An attempt that may still be under way. */
export class Entry {
  readonly request: Told
  readonly caller: Caller | undefined
  readonly #book: Book
  verdict: Verdict['verdict']
  because: string
  readonly detail: string | undefined
  isCut = false
  #isOver = false
  #isClosed = false
  sent = 0
  received = 0
  #socket: Socket | undefined
  #before = { sent: 0, received: 0 }
  #secure: Socket | undefined
  /** What will have been sent once all that has leave is; what it is beyond `sent` is reserved. */
  #sentSoon = 0
  #reserved = 0

  constructor(book: Book, request: Told, { verdict, because, detail }: Ruling, caller?: Caller) {
    this.#book = book
    this.request = request
    this.caller = caller
    this.verdict = verdict
    this.because = because
    this.detail = detail
  }

  /** Its bytes are those of this socket, as the outside sees them. */
  countOn(socket: Socket): void {
    this.#socket = socket
    // What was said to a proxy to get there was not the run's.
    this.#before = { sent: socket.bytesWritten, received: socket.bytesRead }
    socket.once('close', () => this.close())
  }

  /** What goes over it goes through this TLS, which adds to it. */
  secureBy(secure: Socket): void {
    this.#secure = secure
  }

  /**
   * Takes leave to send so many bytes, which nobody else has from then on; whoever asks writes them before the next
   * time. False where they are more than may leave.
   */
  reserve(bytes: number): boolean {
    this.count()
    const onWire = this.#secure ? securedBytes(bytes) : bytes
    const before = this.#isQuiet ? this.sent : Math.max(this.#sentSoon, this.sent)
    const more = before + onWire - this.sent - this.#reserved
    if (this.#isClosed || !this.#book.maySend(more)) return false
    this.#sentSoon = before + onWire
    this.count()
    return true
  }

  /** All that was written is on its way, so what is still reserved is what TLS might have added and did not. */
  get #isQuiet(): boolean {
    return (this.#secure ?? this.#socket)?.writableLength === 0
  }

  count(): void {
    // A socket that has been closed may have forgotten.
    const sent = Math.max(this.sent, (this.#socket?.bytesWritten ?? 0) - this.#before.sent)
    const received = Math.max(this.received, (this.#socket?.bytesRead ?? 0) - this.#before.received)
    const reserved = this.#isClosed ? 0 : Math.max(0, this.#sentSoon - sent)
    this.#book.count({
      sent: sent - this.sent,
      received: received - this.received,
      reserved: reserved - this.#reserved,
    })
    this.sent = sent
    this.received = received
    this.#reserved = reserved
  }

  /** It came to its own end: nothing that is cut later was it. */
  end(): void {
    this.close()
    this.#isOver = true
  }

  /** Nothing more goes over it, and what was reserved is given back. Idempotent. */
  close(): void {
    const isFirst = !this.#isClosed
    this.#isClosed = true
    this.count()
    if (isFirst) this.#book.sayClosed(this)
  }

  /** It was let out, and ended before its own end. */
  cut(because: string): void {
    if (this.isCut || this.#isOver) return
    this.isCut = true
    this.count()
    this.because = because
    this.#book.say('egress/cut', this)
    this.close()
  }
}

/** What so many bytes are at most as TLS writes them, with a record that the handshake may still have to say. */
function securedBytes(bytes: number): number {
  return bytes + recordExtraBytesMax * (1 + Math.ceil(bytes / recordBytesMax))
}

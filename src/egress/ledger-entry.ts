import type { Socket } from 'node:net'
import type { ByteCounts } from './byte-budget.ts'
import type { ConnectionCaller } from './caller-lookup.ts'
import type { EgressRequest, EgressDecision } from './rules.ts'

export type AttemptTarget = Pick<EgressRequest, 'host' | 'port' | 'method'> & {
  readonly scheme: string
}

/** Decision with details for the operator, which neither guest nor outcome receives. */
export interface LoggedDecision extends EgressDecision {
  readonly detail?: string | undefined
}

/** Ledger as seen by its entries. */
export interface LedgerSink {
  maySend(bytes: number): boolean
  count(moved: ByteCounts): void
  emit(point: 'egress/cut', entry: LedgerEntry): void
  emitClosed(entry: LedgerEntry): void
}

/** Reasons quote names of guests, and an outcome has a reason for each attempt. */
const becauseCharactersMax = 1000
const recordBytesMax = 16_384
/** Overhead of one record in TLS 1.2 or 1.3: header, 16 bytes of IV, 48 of MAC, and the largest padding of a cipher. */
const recordExtraBytesMax = 96

/** Attempt, possibly still in progress. */
export class LedgerEntry {
  readonly request: AttemptTarget
  readonly caller: ConnectionCaller | undefined
  readonly #book: LedgerSink
  verdict: EgressDecision['verdict']
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
  /** Bytes sent once everything reserved is written; the part beyond `sent` is the reservation. */
  #sentSoon = 0
  #reserved = 0

  constructor(
    book: LedgerSink,
    request: AttemptTarget,
    { verdict, because, detail }: LoggedDecision,
    caller?: ConnectionCaller,
  ) {
    this.#book = book
    this.request = request
    this.caller = caller
    this.verdict = verdict
    this.because = because.slice(0, becauseCharactersMax)
    this.detail = detail
  }

  /** Counts the bytes of this socket as those of the attempt. */
  countOn(socket: Socket): void {
    this.#socket = socket
    // The CONNECT exchange with an upstream proxy is not charged to the run.
    this.#before = { sent: socket.bytesWritten, received: socket.bytesRead }
    socket.once('close', () => this.close())
  }

  /** Makes reservations include the record overhead of this TLS socket. */
  secureBy(secure: Socket): void {
    this.#secure = secure
  }

  /**
   * Reserves `bytes` to be sent, exclusively; the caller writes them before the next reservation. False if they
   * exceed the budget.
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

  /** True if all writes have been flushed; what is still reserved is TLS overhead that was not needed. */
  get #isQuiet(): boolean {
    return (this.#secure ?? this.#socket)?.writableLength === 0
  }

  count(): void {
    // Keep the maximum: a closed socket may report 0.
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

  /** Normal end: later cuts do not apply to it. */
  end(): void {
    this.close()
    this.#isOver = true
  }

  /** Closes the entry and releases its reservation. Idempotent. */
  close(): void {
    const isFirst = !this.#isClosed
    this.#isClosed = true
    this.count()
    if (isFirst) this.#book.emitClosed(this)
  }

  /** Cuts a permitted attempt before its normal end. */
  cut(because: string): void {
    if (this.isCut || this.#isOver) return
    this.isCut = true
    this.count()
    this.because = because.slice(0, becauseCharactersMax)
    this.#book.emit('egress/cut', this)
    this.close()
  }
}

/** Upper bound for `bytes` as TLS records, with one more record that the handshake may still owe. */
function securedBytes(bytes: number): number {
  return bytes + recordExtraBytesMax * (1 + Math.ceil(bytes / recordBytesMax))
}

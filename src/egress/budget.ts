export interface Budget {
  /** Bytes that may leave in one run, TLS and heads included. */
  readonly sentMax: number
  readonly receivedMax: number
}

/** What was moved, and what has leave to go and is not on its way yet; each in bytes. */
export class Sum {
  sent = 0
  received = 0
  reserved = 0

  add({ sent = 0, received = 0, reserved = 0 }: Partial<Moved>): void {
    this.sent += sent
    this.received += received
    this.reserved += reserved
  }

  /** Whether so many more bytes may leave, beside all that have leave already. */
  maySend(bytes: number, { sentMax }: Budget): boolean {
    return this.sent + this.reserved + bytes <= sentMax
  }

  /** Of what there is too much, where there is. */
  overdrawn({ sentMax, receivedMax }: Budget): Direction | undefined {
    if (this.sent + this.reserved > sentMax) return 'send'
    return this.received > receivedMax ? 'receive' : undefined
  }
}

export type Moved = Readonly<Record<'sent' | 'received' | 'reserved', number>>
export type Direction = 'send' | 'receive'

/** Why what is under way is cut. */
export function usedUp(what: Direction): string {
  return `the bytes that this run may ${what} are used up`
}

export interface ByteBudget {
  /** Bytes a run may send, TLS and message heads included. */
  readonly sentMax: number
  readonly receivedMax: number
}

/** Byte counters. `reserved` bytes are permitted and not yet written. */
export class ByteCounter {
  sent = 0
  received = 0
  reserved = 0

  add({ sent = 0, received = 0, reserved = 0 }: Partial<ByteCounts>): void {
    this.sent += sent
    this.received += received
    this.reserved += reserved
  }

  /** True while `bytes` more fit the budget, in addition to all reservations. */
  maySend(bytes: number, { sentMax }: ByteBudget): boolean {
    return this.sent + this.reserved + bytes <= sentMax
  }

  /** Direction whose limit is exceeded, if any. */
  overdrawn({ sentMax, receivedMax }: ByteBudget): TrafficDirection | undefined {
    if (this.sent + this.reserved > sentMax) return 'send'
    return this.received > receivedMax ? 'receive' : undefined
  }
}

export type ByteCounts = Readonly<Record<'sent' | 'received' | 'reserved', number>>
export type TrafficDirection = 'send' | 'receive'

/** Reason for cutting a connection in progress. */
export function budgetExceeded(what: TrafficDirection): string {
  return `the bytes that this run may ${what} are used up`
}

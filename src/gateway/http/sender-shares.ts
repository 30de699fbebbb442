import { FairShare, type ShareReservation } from './fair-share.ts'

/** Prefix of the names of unauthenticated senders; no tenant's name contains a space. */
const anonymous = ' '

/** Name of a client without a key, by its address group. */
export function anonymousName(address: string): string {
  return `${anonymous}${address}`
}

/** True for a name of `anonymousName`. */
export function isAnonymous(of: string): boolean {
  return of.startsWith(anonymous)
}

/** Limit of bytes split fairly between tenants; clients without a key have a part of it, split between their addresses. */
export class SenderShares {
  readonly #all: FairShare
  readonly #anonymous: FairShare

  constructor(max: number, anonymousMax: number) {
    this.#all = new FairShare(max)
    this.#anonymous = new FairShare(anonymousMax)
  }

  get total(): number {
    return this.#all.total
  }

  /** True if an `add` of 1 would be refused. */
  isFull(of: string): boolean {
    if (!isAnonymous(of)) return this.#all.isFull(of)
    return this.#anonymous.isFull(of) || this.#all.isFull(anonymous)
  }

  /** Opens a hold, released on dispose. */
  hold(of: string): ShareReservation {
    if (!isAnonymous(of)) return this.#all.hold(of)
    const own = this.#anonymous.hold(of)
    const shared = this.#all.hold(anonymous)
    return {
      add: (amount) => own.add(amount) && (shared.add(amount) || !own.add(-amount)),
      [Symbol.dispose]() {
        own[Symbol.dispose]()
        shared[Symbol.dispose]()
      },
    }
  }
}

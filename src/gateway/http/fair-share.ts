/**
 * Shared limit with fair shares: one holder may take half of it, and a quarter once the rest is in
 * use. An `add` that does not fit is refused, not queued.
 */
export class FairShare {
  readonly #max: number
  readonly #of = new Map<string, number>()
  #total = 0

  /** `max`: limit for all holders together, in any unit. */
  constructor(max: number) {
    this.#max = max
  }

  get total(): number {
    return this.#total
  }

  /** True if an `add` of 1 by this holder would be refused. */
  isFull(of: string): boolean {
    return !this.#fits(of, 1, this.#max)
  }

  /** True if there is room for 1, but not for this holder. */
  isHeldBy(of: string): boolean {
    return this.isFull(of) && this.#total < this.#max
  }

  /** Opens a hold, released on dispose. `most` lowers the limit of this holder. */
  hold(of: string, most: number = this.#max): ShareReservation {
    let own = 0
    return {
      add: (amount) => {
        if (!this.#fits(of, amount, most)) return false
        own += amount
        this.#give(of, amount)
        return true
      },
      [Symbol.dispose]: () => {
        this.#give(of, -own)
        own = 0
      },
    }
  }

  #fits(of: string, amount: number, most: number): boolean {
    if (amount <= 0) return true
    const [own, all] = [(this.#of.get(of) ?? 0) + amount, this.#total + amount]
    return own <= most && all <= this.#max && (own <= this.#max / 4 || all <= this.#max / 2)
  }

  #give(of: string, amount: number): void {
    this.#total += amount
    const left = (this.#of.get(of) ?? 0) + amount
    if (left > 0) this.#of.set(of, left)
    else this.#of.delete(of)
  }
}

export interface ShareReservation extends Disposable {
  /** False if refused; nothing is taken then. A negative amount is given back, and never refused. */
  add(amount: number): boolean
}

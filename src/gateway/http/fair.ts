/**
 * A bound on something that all have together, of which nobody has all: one alone may have half of it, and a quarter
 * when others have the rest. Who asks when it is used up is refused, and asks again.
 */
export class Fair {
  readonly #max: number
  readonly #of = new Map<string, number>()
  #total = 0

  /** `max`: of all together, in whatever is counted. */
  constructor(max: number) {
    this.#max = max
  }

  get total(): number {
    return this.#total
  }

  /** Whether nothing more would be given to this one. */
  isFull(of: string): boolean {
    return !this.#fits(of, 1, this.#max)
  }

  /** What one use of it takes, from its begin to its end. `most`: of this one together, where that is less. */
  hold(of: string, most: number = this.#max): Held {
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

export interface Held extends Disposable {
  /** False when it is refused; then nothing was taken. */
  add(amount: number): boolean
}

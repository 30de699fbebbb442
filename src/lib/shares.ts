/** Counters with a capacity for each kind, so that a flood of one kind does not use the capacity of another. */
export class Shares<Kind extends string> {
  /** Number of refused items. */
  dropped = 0
  readonly #capacities: Readonly<Record<Kind, number>>
  readonly #taken = new Map<Kind, number>()

  constructor(capacities: Readonly<Record<Kind, number>>) {
    this.#capacities = capacities
  }

  /** Counts one item; false if the capacity of this kind is used up. */
  take(kind: Kind): boolean {
    const taken = this.#taken.get(kind) ?? 0
    if (taken >= this.#capacities[kind]) {
      this.dropped += 1
      return false
    }
    this.#taken.set(kind, taken + 1)
    return true
  }
}

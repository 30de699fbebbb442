/** Counts against a capacity for each kind, so that a flood of one kind uses up no room of another. */
export class Shares<Kind extends string> {
  /** Items that found no room. */
  dropped = 0
  readonly #capacities: Readonly<Record<Kind, number>>
  readonly #taken = new Map<Kind, number>()

  constructor(capacities: Readonly<Record<Kind, number>>) {
    this.#capacities = capacities
  }

  /** True if there was room for one more of this kind. */
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

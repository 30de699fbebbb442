import type { Budget } from './ledger.ts'

/**
 * What one run has moved by all of its ways out together: a program in zones has one for each wall, and a budget that is
 * the run's, not the wall's. What it may move is what the widest of those that are open may: that of the whole. Once none is open there is nothing left to bound.
 */
export class Account {
  readonly total = { sent: 0, received: 0 }
  readonly #budgets = new Set<() => Budget>()

  /** From now on until what it answers is called. */
  open(budget: () => Budget): () => void {
    this.#budgets.add(budget)
    return () => void this.#budgets.delete(budget)
  }

  get isOpen(): boolean {
    return this.#budgets.size > 0
  }

  /** Whether so many more bytes may leave. */
  maySend(bytes: number): boolean {
    return this.total.sent + bytes <= this.#most('sentMax')
  }

  get isOverdrawn(): boolean {
    const { sent, received } = this.total
    return sent > this.#most('sentMax') || received > this.#most('receivedMax')
  }

  #most(which: keyof Budget): number {
    if (this.#budgets.size === 0) return Infinity
    return Math.max(...Array.from(this.#budgets, (budget) => budget()[which]))
  }
}

/** The accounts of runs that have a way out open, by run. */
export class Accounts {
  readonly #open = new Map<string, Account>()

  of(run: string): Account {
    const known = this.#open.get(run)
    if (known) return known
    const account = new Account()
    this.#open.set(run, account)
    return account
  }

  /** Forgets the account of a run that has no way out open any more. */
  close(run: string): void {
    if (this.#open.get(run)?.isOpen === false) this.#open.delete(run)
  }

  get size(): number {
    return this.#open.size
  }
}

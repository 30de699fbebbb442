import { Sum, type Budget, type Direction } from './budget.ts'
import { LoopLimiter, type LoopLimiterParts } from '../lib/loop-limiter.ts'

/**
 * What one look into TLS counts at least: of a handshake only the first part can be measured, and a guest chooses how
 * much it leaves for later. All of one took 0.9 to 1.2 ms of a core at 2.6 GHz.
 */
const lookMsMin = 1

/** Of the looks of one run. */
export function turnsOfLooks(parts: Partial<LoopLimiterParts> = {}): LoopLimiter {
  return new LoopLimiter({ counted: (tookMs) => Math.max(lookMsMin, tookMs), ...parts })
}

/** One way out of a run, as the run's account knows it. */
export interface Party {
  readonly budget: () => Budget
  /** That less may move than before: what is under way may be too much now. */
  readonly narrowed: () => void
}

/**
 * What one run has moved by all of its ways out together: a program in zones has one for each wall, and a budget that is
 * the run's, not the wall's. What it may move is what the widest of those that are open may: that of the whole. Once none is open there is nothing left to bound.
 */
export class Account {
  readonly sum = new Sum()
  /** For what the server does for it itself. */
  readonly turns: LoopLimiter
  readonly #parties = new Set<Party>()

  constructor(turns = turnsOfLooks()) {
    this.turns = turns
  }

  /** From now on until what it answers is called. */
  open(party: Party): () => void {
    this.#parties.add(party)
    return () => void this.#parties.delete(party)
  }

  get isOpen(): boolean {
    return this.#parties.size > 0
  }

  /** Whether so many more bytes may leave. */
  maySend(bytes: number): boolean {
    return this.sum.maySend(bytes, this.#budget)
  }

  get overdrawn(): Direction | undefined {
    return this.sum.overdrawn(this.#budget)
  }

  /** One of them may move less: all of them are told, since it may have been the widest. */
  narrow(): void {
    for (const { narrowed } of this.#parties) narrowed()
  }

  get #budget(): Budget {
    const all = Array.from(this.#parties, ({ budget }) => budget())
    if (all.length === 0) return { sentMax: Infinity, receivedMax: Infinity }
    return {
      sentMax: Math.max(...all.map(({ sentMax }) => sentMax)),
      receivedMax: Math.max(...all.map(({ receivedMax }) => receivedMax)),
    }
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

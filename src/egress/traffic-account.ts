import { ByteCounter, type ByteBudget, type TrafficDirection } from './byte-budget.ts'
import { LoopLimiter, type LoopLimiterParts } from '../lib/loop-limiter.ts'

/**
 * Minimum charge for one TLS inspection. Only the first part of a handshake can be measured, and a guest decides how
 * much it leaves for later; a whole handshake took 0.9 to 1.2 ms of a 2.6 GHz core.
 */
const inspectionMsMin = 1

/** Rate limit on event-loop time for the TLS inspections of one run. */
export function inspectionLimiter(parts: Partial<LoopLimiterParts> = {}): LoopLimiter {
  return new LoopLimiter({ counted: (tookMs) => Math.max(inspectionMsMin, tookMs), ...parts })
}

/** Share of a wall in the account of its run. */
export interface WallShare {
  readonly budget: () => ByteBudget
  /** Called when the budget shrinks: traffic in progress may exceed it now. */
  readonly narrowed: () => void
}

/**
 * Bytes moved by all walls of one run together: a program in zones has one egress path per wall, but the budget is
 * the run's. The limit is the largest budget among the open walls, which is that of the whole program.
 *
 * A run and those forked from it have one account, so that forks do not multiply a budget. There the budgets of closed walls
 * count on: the parent may end first, and its children go on with what it has left.
 */
export class TrafficAccount {
  readonly sum = new ByteCounter()
  readonly limiter: LoopLimiter
  /** Rate limit on event-loop time for the frames and chunks of all connections, which may be of a byte each. */
  readonly parsing: LoopLimiter
  readonly #parties = new Set<WallShare>()
  /** Forked runs that have not ended. */
  #forked = 0
  /** Largest budget of the closed walls, once there was a fork. */
  #closed: ByteBudget | undefined

  constructor(limiter = inspectionLimiter(), parsing = new LoopLimiter()) {
    this.limiter = limiter
    this.parsing = parsing
  }

  /** Adds a wall to the account; the function returned removes it. */
  open(party: WallShare): () => void {
    this.#parties.add(party)
    return () => {
      if (!this.#parties.delete(party) || !this.#closed) return
      this.#closed = largest([this.#closed, party.budget()])
    }
  }

  /** Adds a forked run; the function returned removes it, once. */
  join(): () => void {
    this.#closed ??= { sentMax: 0, receivedMax: 0 }
    this.#forked++
    let isOver = false
    return () => {
      if (!isOver) this.#forked--
      isOver = true
    }
  }

  /** True while a wall is open, or a forked run may open one. */
  get isOpen(): boolean {
    return this.#parties.size > 0 || this.#forked > 0
  }

  /** True while `bytes` more may be sent. */
  maySend(bytes: number): boolean {
    return this.sum.maySend(bytes, this.#budget)
  }

  get overdrawn(): TrafficDirection | undefined {
    return this.sum.overdrawn(this.#budget)
  }

  /** Notifies every wall, since the one that was tightened may have had the largest budget. */
  narrow(): void {
    for (const { narrowed } of this.#parties) narrowed()
  }

  get #budget(): ByteBudget {
    const all = Array.from(this.#parties, ({ budget }) => budget())
    if (this.#closed) return largest([...all, this.#closed])
    if (all.length === 0) return { sentMax: Infinity, receivedMax: Infinity }
    return largest(all)
  }
}

function largest(all: readonly ByteBudget[]): ByteBudget {
  return {
    sentMax: Math.max(...all.map(({ sentMax }) => sentMax)),
    receivedMax: Math.max(...all.map(({ receivedMax }) => receivedMax)),
  }
}

/** Accounts of runs with an open egress path, by run id. */
export class TrafficAccounts {
  readonly #open = new Map<string, TrafficAccount>()

  of(run: string): TrafficAccount {
    return this.#open.getOrInsertComputed(run, () => new TrafficAccount())
  }

  /**
   * Counts the bytes of a forked run with those of its parent, which has not ended. The function returned ends that, once the
   * child has ended.
   */
  join(child: string, parent: string): () => void {
    const account = this.of(parent)
    const leave = account.join()
    this.#open.set(child, account)
    return () => {
      leave()
      if (this.#open.get(child) === account) this.#open.delete(child)
      this.#drop(account)
    }
  }

  /** Deletes the account of a run without an open egress path. */
  close(run: string): void {
    const account = this.#open.get(run)
    if (account) this.#drop(account)
  }

  #drop(account: TrafficAccount): void {
    if (account.isOpen) return
    for (const [run, one] of this.#open) if (one === account) this.#open.delete(run)
  }

  get size(): number {
    return this.#open.size
  }
}

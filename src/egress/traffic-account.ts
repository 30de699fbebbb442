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
 */
export class TrafficAccount {
  readonly sum = new ByteCounter()
  readonly limiter: LoopLimiter
  readonly #parties = new Set<WallShare>()

  constructor(limiter = inspectionLimiter()) {
    this.limiter = limiter
  }

  /** Adds a wall to the account; the function returned removes it. */
  open(party: WallShare): () => void {
    this.#parties.add(party)
    return () => void this.#parties.delete(party)
  }

  get isOpen(): boolean {
    return this.#parties.size > 0
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
    if (all.length === 0) return { sentMax: Infinity, receivedMax: Infinity }
    return {
      sentMax: Math.max(...all.map(({ sentMax }) => sentMax)),
      receivedMax: Math.max(...all.map(({ receivedMax }) => receivedMax)),
    }
  }
}

/** Accounts of runs with an open egress path, by run id. */
export class TrafficAccounts {
  readonly #open = new Map<string, TrafficAccount>()

  of(run: string): TrafficAccount {
    return this.#open.getOrInsertComputed(run, () => new TrafficAccount())
  }

  /** Deletes the account of a run without an open egress path. */
  close(run: string): void {
    if (this.#open.get(run)?.isOpen === false) this.#open.delete(run)
  }

  get size(): number {
    return this.#open.size
  }
}

import { canonicalControls, meet, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { Enforced, Sandbox } from '../contract/provider.ts'
import { resolvesWithin } from '../lib/within.ts'
import { addChannelCapability, removeChannelCapability } from './grant.ts'
import type { ZoneRights } from './channel-reach.ts'

/** Deadline for concurrent tighten orders of other walls, in milliseconds. */
export const concurrentOrdersMsMax = 250

interface WallControls {
  readonly sandbox: Pick<Sandbox, 'tighten'>
  had: Controls
  has: Controls
  /** Controls ordered, possibly not enforced yet. */
  asked: Controls
}

/**
 * Controls of each wall of a program, now and at its start.
 *
 * Tightening the whole program sends one order to each wall, and they take effect one after another. An order
 * resolves only when concurrent orders have too (or `concurrentOrdersMsMax` passed), so that channels are not judged by a state
 * in between (race).
 */
export class ZoneControls {
  readonly #all = new Map<string, WallControls>()
  readonly #pending = new Set<Promise<Enforced>>()
  #hasBegun = false

  /** Registers a wall with its initial controls. */
  add(zone: string, sandbox: Pick<Sandbox, 'tighten'>, controls: Controls): void {
    const had = canonicalControls(controls)
    this.#all.set(zone, { sandbox, had, has: had, asked: had })
  }

  /** Marks the start of the program: rights taken earlier do not count as lost. */
  begin(): void {
    for (const one of this.#all.values()) one.had = one.has
    this.#hasBegun = true
  }

  /** Enforced controls of a zone. Throws MayflyError NOT_FOUND. */
  enforced(zone: string): Controls {
    return this.#of(zone).has
  }

  /** Controls of a zone once all orders are enforced. Throws MayflyError NOT_FOUND. */
  ordered(zone: string): Controls {
    return this.#of(zone).asked
  }

  /** Controls of every zone at the start and now; empty before the program starts. */
  get rights(): ReadonlyMap<string, ZoneRights> {
    return this.#hasBegun ? this.#all : new Map()
  }

  /**
   * Resolves once the order and all concurrent ones are enforced, the latter for at most `concurrentOrdersMsMax`. Rejects as
   * the wall does, and with MayflyError NOT_FOUND.
   */
  async tighten(zone: string, to: Controls): Promise<Enforced> {
    const one = this.#of(zone)
    one.asked = meet(one.asked, to)
    const order = enforce(one, to).finally(() => this.#pending.delete(order))
    this.#pending.add(order)
    const done = await order
    await this.#awaitConcurrent()
    return { ...done, controls: one.has }
  }

  async #awaitConcurrent(): Promise<void> {
    if (this.#pending.size === 0) return
    await resolvesWithin(Promise.allSettled(this.#pending), concurrentOrdersMsMax)
  }

  #of(zone: string): WallControls {
    const one = this.#all.get(zone)
    if (one) return one
    throw new MayflyError('NOT_FOUND', `Cannot find the zone "${zone}"`)
  }
}

async function enforce(one: WallControls, to: Controls): Promise<Enforced> {
  const done = await one.sandbox.tighten(addChannelCapability(to))
  one.has = meet(one.has, removeChannelCapability(done.controls))
  return done
}

import { canonicalControls, meet, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { Enforced, Sandbox } from '../contract/provider.ts'
import { withChannelOpen, withoutChannel } from './grant.ts'
import type { Standing } from './reach.ts'

/** How long a wall that holds waits for orders beside its own, in milliseconds. */
export const besideMsMax = 250

interface Holding {
  readonly sandbox: Pick<Sandbox, 'tighten'>
  had: Controls
  has: Controls
  /** What it was told to be within, from the moment in which it was told. */
  asked: Controls
}

/**
 * What each wall of a program may do, and what it lost since the program began. Where the whole is tightened each wall
 * of it gets an order of its own, and they come to hold one after another: an order counts as held once those beside it
 * do too, so that nobody is judged by what is being taken from another in the same moment.
 */
export class Holdings {
  readonly #all = new Map<string, Holding>()
  readonly #underWay = new Set<Promise<Enforced>>()
  #hasBegun = false

  /** A wall, and what it was made with. */
  add(zone: string, sandbox: Pick<Sandbox, 'tighten'>, controls: Controls): void {
    const had = canonicalControls(controls)
    this.#all.set(zone, { sandbox, had, has: had, asked: had })
  }

  /** Its program begins: what was taken before, nobody had. */
  begin(): void {
    for (const one of this.#all.values()) one.had = one.has
    this.#hasBegun = true
  }

  /** What a zone may do, as its wall said last. Throws MayflyError NOT_FOUND. */
  has(zone: string): Controls {
    return this.#of(zone).has
  }

  /** What it may do once all that it was told holds. Throws MayflyError NOT_FOUND. */
  asked(zone: string): Controls {
    return this.#of(zone).asked
  }

  /** What every zone had and has; nobody before the program began. */
  get standing(): ReadonlyMap<string, Standing> {
    return this.#hasBegun ? this.#all : new Map()
  }

  /**
   * Resolves once it holds, and the orders beside it do too or are `besideMsMax` late. Rejects as the wall does, and
   * with MayflyError NOT_FOUND.
   */
  async tighten(zone: string, to: Controls): Promise<Enforced> {
    const one = this.#of(zone)
    one.asked = meet(one.asked, to)
    const order = hold(one, to).finally(() => this.#underWay.delete(order))
    this.#underWay.add(order)
    const done = await order
    await this.#beside()
    return { ...done, controls: one.has }
  }

  async #beside(): Promise<void> {
    if (this.#underWay.size === 0) return
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, besideMsMax)
    await Promise.race([Promise.allSettled(this.#underWay), late.promise])
    clearTimeout(timer)
  }

  #of(zone: string): Holding {
    const one = this.#all.get(zone)
    if (one) return one
    throw new MayflyError('NOT_FOUND', `Cannot find the zone "${zone}"`)
  }
}

async function hold(one: Holding, to: Controls): Promise<Enforced> {
  const done = await one.sandbox.tighten(withChannelOpen(to))
  one.has = meet(one.has, withoutChannel(done.controls))
  return done
}

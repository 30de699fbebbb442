import { randomBytes } from 'node:crypto'
import type { Enclosure, EnclosureFork } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import { forksMax, type ForkedWall } from '../contract/warden.ts'
import type { Request } from '../contract/warden-request.ts'
import type { EnclosureLife } from './enclosure-life.ts'
import type { LiveWall } from './live-wall.ts'
import type { Answer } from './operations.ts'
import type { StartedEnclosure } from './start.ts'

export interface ForksParts {
  /** Throws MayflyError NOT_FOUND, also for a wall that is ending. */
  readonly find: (wall: string) => Pick<LiveWall, 'enclosure' | 'life'>
  /** Adds an enclosure, within the tenant and the bounds of its parent. */
  readonly start: (
    fork: () => Promise<Enclosure>,
    parent: EnclosureLife,
  ) => Promise<StartedEnclosure>
}

interface HeldFork {
  readonly saved: EnclosureFork
  readonly parent: EnclosureLife
  /** Walls that may still be started of it, and those that are being started. */
  left: number
  starting: number
}

/** Time from a fork until its walls have been started, in milliseconds. */
const START_MS_MAX = 300_000

/**
 * Saves of forked walls, from the request for a fork until their walls were started. The memory of each is on this host's disk, so their
 * number is bounded, and one whose walls are not started in time is removed.
 */
export class Forks {
  readonly #parts: ForksParts
  readonly #held = new Map<string, HeldFork>()
  readonly #removing = new Set<Promise<void>>()
  /** Forks that are being saved. */
  #saving = 0
  #isClosed = false

  constructor(parts: ForksParts) {
    this.#parts = parts
  }

  /** Throws MayflyError NOT_FOUND, CONFLICT for a wall without a job, OVERLOADED, and UNAVAILABLE for one that cannot be forked. */
  async begin({
    wall: id,
    children,
  }: Pick<Extract<Request, { op: 'fork' }>, 'wall' | 'children'>): Promise<Answer> {
    const { enclosure, life } = this.#parts.find(id)
    if (life.state !== 'claimed' || life.tenant === undefined)
      throw new MayflyError('CONFLICT', `Cannot fork wall "${id}": it has no job`)
    if (!enclosure.forks)
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot fork wall "${id}": its engine does not support it`,
      )
    if (this.#held.size + this.#saving >= forksMax)
      throw new MayflyError('OVERLOADED', `Cannot fork a wall: ${forksMax} forks are under way`)
    this.#saving++
    try {
      const saved = await enclosure.forks.fork()
      return { value: this.#hold({ saved, parent: life, left: children, starting: 0 }) }
    } finally {
      this.#saving--
    }
  }

  /** Throws MayflyError NOT_FOUND for a fork that is over, and as the engine does. */
  async start(fork: string): Promise<Answer> {
    const held = this.#held.get(fork)
    if (!held) throw new MayflyError('NOT_FOUND', `Cannot find fork "${fork}"`)
    held.left--
    held.starting++
    if (held.left === 0) this.#held.delete(fork)
    try {
      return await this.#parts.start(() => held.saved.start(), held.parent)
    } finally {
      held.starting--
      if (held.left === 0 && held.starting === 0) await this.#remove(held)
    }
  }

  /** Removes the save of a fork. Idempotent. */
  async forget(fork: string): Promise<Answer> {
    const held = this.#held.get(fork)
    this.#held.delete(fork)
    if (held) await this.#remove(held)
    return { value: null }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#held.keys()].map((fork) => this.forget(fork)))
    await Promise.all(this.#removing)
  }

  #hold(held: HeldFork): ForkedWall {
    const fork = `f${randomBytes(8).toString('hex')}`
    this.#held.set(fork, held)
    // A save that cannot be removed stays for the next sweep, by its lease.
    const drop = () => void this.forget(fork).catch(() => undefined)
    if (this.#isClosed) drop()
    setTimeout(drop, START_MS_MAX).unref()
    return { fork, pausedMs: held.saved.pausedMs }
  }

  async #remove({ saved }: HeldFork): Promise<void> {
    const removing = saved.release().finally(() => this.#removing.delete(removing))
    this.#removing.add(removing)
    await removing
  }
}

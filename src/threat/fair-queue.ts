import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'

export interface FairQueueBounds {
  /** Maximum concurrent requests. */
  readonly places: number
  /** Single-tenant server: reserve no slot for others. */
  readonly alone?: boolean | undefined
  /** Maximum queued requests of one tenant. */
  readonly waitingMax: number
  /** Maximum queued units, of all tenants together. */
  readonly waitingUnitsMax: number
  readonly waitMsMax: number
}

interface Waiting {
  readonly units: number
  readonly go: (leave: () => void) => void
  readonly timer: Timer
}

/** Maximum share of one tenant: of slots (at least one), and of queued units. */
const PLACES_OF_ONE = 0.75
const UNITS_OF_ONE = 0.25

/**
 * Fair scheduling of the analysis processes among tenants. With two or more, no tenant gets all: a second
 * tenant finds one at once, however slow the first one's sources are. With one, tenants alternate. Queues are
 * bounded per tenant, so that a flood is refused while others still wait.
 */
export class FairQueue {
  readonly #bounds: FairQueueBounds
  readonly #clock: Clock
  readonly #placesOfOne: number
  readonly #shareUnits: number
  /** Requests that wait for a slot, by tenant; insertion order is the round-robin order. */
  readonly #queues = new Map<string, Waiting[]>()
  /** Slots in use, by tenant. */
  readonly #placesOf = new Map<string, number>()
  #taken = 0
  #waitingUnits = 0

  constructor(bounds: FairQueueBounds, clock: Clock) {
    const { places, alone = false } = bounds
    this.#bounds = bounds
    this.#clock = clock
    this.#placesOfOne = alone ? places : Math.max(1, Math.floor(places * PLACES_OF_ONE))
    this.#shareUnits = bounds.waitingUnitsMax * UNITS_OF_ONE
  }

  /**
   * Resolves with a release function, which is idempotent. Rejects with OVERLOADED at once on a full queue, of
   * this tenant or of all, and after `waitMsMax`. `units`: length of the request, in UTF-16 units.
   */
  async enter(tenant: string, units: number): Promise<() => void> {
    // A tenant that queues while a slot is free is at its share.
    if (this.#taken < this.#bounds.places && this.#isBelowShare(tenant)) return this.#take(tenant)
    this.#checkRoom(this.#queues.get(tenant) ?? [], units)
    return this.#wait(tenant, units)
  }

  #isBelowShare(tenant: string): boolean {
    return (this.#placesOf.get(tenant) ?? 0) < this.#placesOfOne
  }

  #count(tenant: string, by: 1 | -1): void {
    this.#taken += by
    const now = (this.#placesOf.get(tenant) ?? 0) + by
    if (now > 0) this.#placesOf.set(tenant, now)
    else this.#placesOf.delete(tenant)
  }

  #take(tenant: string): () => void {
    this.#count(tenant, 1)
    let left = false
    return () => {
      if (left) return
      left = true
      this.#count(tenant, -1)
      this.#serveNext()
    }
  }

  /** Serves the first tenant below its share, and moves it to the end. */
  #serveNext(): void {
    for (const [tenant, queue] of this.#queues) {
      if (!this.#isBelowShare(tenant)) continue
      const first = queue[0]!
      this.#forget(tenant, first)
      this.#queues.delete(tenant)
      if (queue.length > 0) this.#queues.set(tenant, queue)
      return first.go(this.#take(tenant))
    }
  }

  #forget(tenant: string, one: Waiting): void {
    const queue = this.#queues.get(tenant) ?? []
    queue.splice(queue.indexOf(one), 1)
    this.#waitingUnits -= one.units
    one.timer.cancel()
    if (queue.length === 0) this.#queues.delete(tenant)
  }

  /** A single request may exceed a share, since it could never wait otherwise; it leaves one share to others. */
  #checkRoom(own: readonly Waiting[], units: number): void {
    const { waitingMax, waitingUnitsMax } = this.#bounds
    const most = own.length === 0 ? waitingUnitsMax - this.#shareUnits : this.#shareUnits
    const ownUnits = own.reduce((sum, one) => sum + one.units, 0)
    if (own.length >= waitingMax || ownUnits + units > most)
      throw overloaded('too much of this tenant is waiting', this.#bounds)
    if (this.#waitingUnits + units > waitingUnitsMax)
      throw overloaded('too much is waiting', this.#bounds)
  }

  #wait(tenant: string, units: number): Promise<() => void> {
    const { promise, resolve, reject } = Promise.withResolvers<() => void>()
    const timer = this.#clock.after(this.#bounds.waitMsMax, () => {
      this.#forget(tenant, one)
      reject(overloaded('waited too long', this.#bounds))
    })
    const one: Waiting = { units, go: resolve, timer }
    this.#queues.getOrInsert(tenant, []).push(one)
    this.#waitingUnits += units
    return promise
  }
}

function overloaded(why: string, { waitMsMax }: FairQueueBounds): MayflyError {
  return new MayflyError('OVERLOADED', `Cannot analyse now: ${why}`, {
    hint: 'Try again later, or ask for fewer at once',
    retryAfterMs: waitMsMax,
  })
}

import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'

/**
 * Fair scheduling of the analysis processes among tenants. With two or more, no tenant gets all: a second
 * tenant finds one at once, however slow the first one's sources are. With one, tenants alternate. Queues are
 * bounded per tenant, so that a flood is refused while others still wait.
 */
export interface FairQueue {
  /**
   * Resolves with a release function, which is idempotent. Rejects with OVERLOADED at once on a full queue, of
   * this tenant or of all, and after `waitMsMax`. `units`: length of the request, in UTF-16 units.
   */
  enter(tenant: string, units: number): Promise<() => void>
}

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

export function createFairQueue(bounds: FairQueueBounds, clock: Clock): FairQueue {
  const { places, alone = false } = bounds
  const placesOfOne = alone ? places : Math.max(1, Math.floor(places * PLACES_OF_ONE))
  const shareUnits = bounds.waitingUnitsMax * UNITS_OF_ONE
  // Insertion order is the round-robin order.
  const queues = new Map<string, Waiting[]>()
  const placesOf = new Map<string, number>()
  let taken = 0
  let waitingUnits = 0

  const isBelowShare = (tenant: string) => (placesOf.get(tenant) ?? 0) < placesOfOne

  function count(tenant: string, by: 1 | -1): void {
    taken += by
    const now = (placesOf.get(tenant) ?? 0) + by
    if (now > 0) placesOf.set(tenant, now)
    else placesOf.delete(tenant)
  }

  function take(tenant: string): () => void {
    count(tenant, 1)
    let left = false
    return () => {
      if (left) return
      left = true
      count(tenant, -1)
      next()
    }
  }

  /** Serves the first tenant below its share, and moves it to the end. */
  function next(): void {
    for (const [tenant, queue] of queues) {
      if (!isBelowShare(tenant)) continue
      const first = queue[0]!
      forget(tenant, first)
      queues.delete(tenant)
      if (queue.length > 0) queues.set(tenant, queue)
      return first.go(take(tenant))
    }
  }

  function forget(tenant: string, one: Waiting): void {
    const queue = queues.get(tenant) ?? []
    queue.splice(queue.indexOf(one), 1)
    waitingUnits -= one.units
    one.timer.cancel()
    if (queue.length === 0) queues.delete(tenant)
  }

  /**
   * A single request may exceed a share, since it could never wait otherwise; it leaves one share to others.
   */
  function checkRoom(own: readonly Waiting[], units: number): void {
    const most = own.length === 0 ? bounds.waitingUnitsMax - shareUnits : shareUnits
    const ownUnits = own.reduce((sum, one) => sum + one.units, 0)
    if (own.length >= bounds.waitingMax || ownUnits + units > most) {
      throw overloaded('too much of this tenant is waiting', bounds)
    }
    if (waitingUnits + units > bounds.waitingUnitsMax) {
      throw overloaded('too much is waiting', bounds)
    }
  }

  function wait(tenant: string, units: number): Promise<() => void> {
    const { promise, resolve, reject } = Promise.withResolvers<() => void>()
    const timer = clock.after(bounds.waitMsMax, () => {
      forget(tenant, one)
      reject(overloaded('waited too long', bounds))
    })
    const one: Waiting = { units, go: resolve, timer }
    const queue = queues.get(tenant)
    if (queue) queue.push(one)
    else queues.set(tenant, [one])
    waitingUnits += units
    return promise
  }

  return {
    async enter(tenant, units) {
      // A tenant that queues while a slot is free is at its share.
      if (taken < places && isBelowShare(tenant)) return take(tenant)
      checkRoom(queues.get(tenant) ?? [], units)
      return wait(tenant, units)
    },
  }
}

function overloaded(why: string, { waitMsMax }: FairQueueBounds): MayflyError {
  return new MayflyError('OVERLOADED', `Cannot analyse now: ${why}`, {
    hint: 'Try again later, or ask for fewer at once',
    retryAfterMs: waitMsMax,
  })
}

import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'

/**
 * Who has an analysing process, and who waits for one. Nobody has them all where there are two: a tenant that comes
 * second finds one at once, however long the first one's sources take. Where there is one only, tenants take turns.
 * What waits is bounded for each tenant, so that one who floods is refused while others still wait.
 */
export interface Turns {
  /**
   * Resolves with what gives the place back, which is idempotent. Rejects with OVERLOADED at once when too much
   * waits, of this tenant or of all, and after `waitMsMax`. `units`: the length of what is asked, in UTF-16 units.
   */
  enter(tenant: string, units: number): Promise<() => void>
}

export interface TurnBounds {
  /** How many may be under way at once. */
  readonly places: number
  /** Whether there is one tenant only, who then leaves no place to others. */
  readonly alone?: boolean | undefined
  /** Requests of one tenant that wait. */
  readonly waitingMax: number
  /** Units that wait, of all tenants together. */
  readonly waitingUnitsMax: number
  readonly waitMsMax: number
}

interface Waiting {
  readonly units: number
  readonly go: (leave: () => void) => void
  readonly timer: Timer
}

/** Of the places, and of the units that may wait, how many one tenant may have; of places at least one. */
const PLACES_OF_ONE = 0.75
const UNITS_OF_ONE = 0.25

export function createTurns(bounds: TurnBounds, clock: Clock): Turns {
  const { places, alone = false } = bounds
  const placesOfOne = alone ? places : Math.max(1, Math.floor(places * PLACES_OF_ONE))
  const shareUnits = bounds.waitingUnitsMax * UNITS_OF_ONE
  // In the order of their turns.
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

  /** The first tenant that has not its share gives one and goes to the back. */
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

  /** One request may be larger than a share, since none could ever wait otherwise; it leaves one to others too. */
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
      // Whoever waits while a place is free has his share already.
      if (taken < places && isBelowShare(tenant)) return take(tenant)
      checkRoom(queues.get(tenant) ?? [], units)
      return wait(tenant, units)
    },
  }
}

function overloaded(why: string, { waitMsMax }: TurnBounds): MayflyError {
  return new MayflyError('OVERLOADED', `Cannot analyse now: ${why}`, {
    hint: 'Try again later, or ask for fewer at once',
    retryAfterMs: waitMsMax,
  })
}

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
  readonly tenant: string
  readonly sender: string | undefined
  readonly units: number
  readonly go: (leave: () => void) => void
  readonly timer: Timer
}

/** Maximum share of one tenant: of slots (at least one), and of queued units; twice that with first requests of its named senders. */
const PLACES_OF_ONE = 0.75
const UNITS_OF_ONE = 0.25
/** Maximum share of a named sender in that of its tenant: of slots (at least one), and of the queue. */
const SENDER_SHARE = 0.5

/**
 * Fair scheduling of the analysis processes among tenants. With two or more, no tenant gets all: a second
 * tenant finds one at once, however slow the first one's sources are. With one, tenants alternate. Queues are
 * bounded per tenant, so that a flood is refused while others still wait.
 *
 * The named senders of a tenant, such as the addresses of visitors, share its part in the same way. Requests without a name
 * are those of the tenant itself, and have all of it.
 */
export class FairQueue {
  readonly #bounds: FairQueueBounds
  readonly #clock: Clock
  readonly #placesOfOne: number
  readonly #placesOfSender: number
  readonly #shareUnits: number
  /** Requests that wait for a slot, by tenant; the order of tenants, and of the requests of each, is that of service. */
  readonly #queues = new Map<string, Waiting[]>()
  /** Slots in use, by tenant, and by its named senders. */
  readonly #placesOf = new Map<string, number>()
  #taken = 0
  #waitingUnits = 0

  constructor(bounds: FairQueueBounds, clock: Clock) {
    const { places, alone = false } = bounds
    this.#bounds = bounds
    this.#clock = clock
    this.#placesOfOne = alone ? places : Math.max(1, Math.floor(places * PLACES_OF_ONE))
    this.#placesOfSender = Math.max(1, Math.floor(this.#placesOfOne * SENDER_SHARE))
    this.#shareUnits = bounds.waitingUnitsMax * UNITS_OF_ONE
  }

  /**
   * Resolves with a release function, which is idempotent. Rejects with OVERLOADED at once on a full queue, of
   * this sender, its tenant or all, and after `waitMsMax`. `units`: length of the request, in UTF-16 units.
   */
  async enter(tenant: string, units: number, sender?: string): Promise<() => void> {
    // A sender that queues while a slot is free is at its share, or its tenant is.
    if (this.#taken < this.#bounds.places && this.#isBelowShare(tenant, sender))
      return this.#take(tenant, sender)
    this.#checkRoom(this.#queues.get(tenant) ?? [], units, sender)
    return this.#wait(tenant, units, sender)
  }

  #isBelowShare(tenant: string, sender: string | undefined): boolean {
    if ((this.#placesOf.get(tenant) ?? 0) >= this.#placesOfOne) return false
    if (sender === undefined) return true
    return (this.#placesOf.get(nameOfSender(tenant, sender)) ?? 0) < this.#placesOfSender
  }

  #count(of: string, by: 1 | -1): void {
    const now = (this.#placesOf.get(of) ?? 0) + by
    if (now > 0) this.#placesOf.set(of, now)
    else this.#placesOf.delete(of)
  }

  #countSlot(tenant: string, sender: string | undefined, by: 1 | -1): void {
    this.#taken += by
    this.#count(tenant, by)
    if (sender !== undefined) this.#count(nameOfSender(tenant, sender), by)
  }

  #take(tenant: string, sender: string | undefined): () => void {
    this.#countSlot(tenant, sender, 1)
    let left = false
    return () => {
      if (left) return
      left = true
      this.#countSlot(tenant, sender, -1)
      this.#serveNext()
    }
  }

  /** Serves the first sender below its share, of the first tenant below its own, and moves both to the end. */
  #serveNext(): void {
    for (const [tenant, queue] of this.#queues) {
      const first = queue.find(({ sender }) => this.#isBelowShare(tenant, sender))
      if (!first) continue
      this.#forget(first)
      this.#queues.delete(tenant)
      const isOwn = ({ sender }: Waiting) => sender === first.sender
      const others = queue.filter((one) => !isOwn(one))
      if (queue.length > 0) this.#queues.set(tenant, [...others, ...queue.filter(isOwn)])
      return first.go(this.#take(tenant, first.sender))
    }
  }

  #forget(one: Waiting): void {
    const queue = this.#queues.get(one.tenant) ?? []
    queue.splice(queue.indexOf(one), 1)
    this.#waitingUnits -= one.units
    one.timer.cancel()
    if (queue.length === 0) this.#queues.delete(one.tenant)
  }

  /** The only request of a tenant may exceed its share, since it could never wait otherwise; it leaves one share to others. */
  #checkRoom(ofTenant: readonly Waiting[], units: number, sender: string | undefined): void {
    const { waitingMax, waitingUnitsMax } = this.#bounds
    const own = sender === undefined ? ofTenant : ofTenant.filter((one) => one.sender === sender)
    const share = sender === undefined ? 1 : SENDER_SHARE
    const isFirst = own.length === 0
    const isOver = !isFirst && unitsOf(own) + units > this.#shareUnits * share
    if (isOver || own.length >= waitingMax * share)
      throw overloaded(
        `too much of this ${sender === undefined ? 'tenant' : 'sender'} is waiting`,
        this.#bounds,
      )
    const most = isFirst ? this.#shareUnits * 2 : this.#shareUnits
    const isOnly = ofTenant.length === 0
    const unitsMax = isOnly ? waitingUnitsMax - this.#shareUnits : most
    if (ofTenant.length >= waitingMax || unitsOf(ofTenant) + units > unitsMax)
      throw overloaded('too much of this tenant is waiting', this.#bounds)
    if (this.#waitingUnits + units > waitingUnitsMax)
      throw overloaded('too much is waiting', this.#bounds)
  }

  #wait(tenant: string, units: number, sender: string | undefined): Promise<() => void> {
    const { promise, resolve, reject } = Promise.withResolvers<() => void>()
    const timer = this.#clock.after(this.#bounds.waitMsMax, () => {
      this.#forget(one)
      reject(overloaded('waited too long', this.#bounds))
    })
    const one: Waiting = { tenant, sender, units, go: resolve, timer }
    this.#queues.getOrInsert(tenant, []).push(one)
    this.#waitingUnits += units
    return promise
  }
}

function nameOfSender(tenant: string, sender: string): string {
  return `${tenant}\0${sender}`
}

function unitsOf(waiting: readonly Waiting[]): number {
  return waiting.reduce((sum, { units }) => sum + units, 0)
}

function overloaded(why: string, { waitMsMax }: FairQueueBounds): MayflyError {
  return new MayflyError('OVERLOADED', `Cannot analyse now: ${why}`, {
    hint: 'Try again later, or ask for fewer at once',
    retryAfterMs: waitMsMax,
  })
}

import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'

/**
 * Keeps the sum of what is alive within a budget. A job counts by its ceilings until it was measured, then by what it
 * uses. What does not fit waits in a bounded queue that takes turns between tenants, so that a tenant that floods waits
 * behind itself; after its deadline it is refused, with a time to come back. No tenant has all the places: one that
 * comes second finds one.
 */
export interface Budget {
  /** Bytes of memory that all jobs together may hold. */
  readonly memory: number
  /** Walls that may want the processor at once. */
  readonly runnable: number
  /** Walls of jobs at once, those that sleep included; no bound of its own unless given. */
  readonly jobs?: number
  readonly queueMax: number
  readonly waitMsMax: number
  /** There is one tenant and no other to come: it may have all of the memory. */
  readonly isOneAlone?: boolean
}

export interface Place {
  /** Milliseconds waited. */
  readonly waited: number
  /** Counts by what was measured from now on, in place of its ceilings. */
  recount(now: Measured): void
  /** Idempotent. */
  leave(): void
}

/** What a job uses now. */
export interface Measured {
  /** Whether it wants the processor. */
  readonly isBusy: boolean
  /** Bytes, with a margin. */
  readonly memory: number
}

export interface Admitter {
  /** `walls`: of how many it is made, each of which takes the place of one. */
  enter(tenant: string, memory: number, signal: AbortSignal, walls?: number): Promise<Place>
  /** Walls of jobs that have a place, and those of them that want the processor. */
  readonly running: number
  readonly busy: number
  readonly waiting: number
  /** Bytes that all that runs counts for. */
  readonly memory: number
}

interface Waiting extends Wanted {
  readonly since: number
  readonly go: (place: Place) => void
  readonly timer: Timer
}

interface Wanted {
  readonly memory: number
  readonly walls: number
}

/** Of the walls that may run, of their memory and of the queue, how much one tenant may have. */
const SHARE_OF_ONE = 0.75
/** A place comes free sooner than the longest wait is over. */
const RETRY_AFTER_MS_MAX = 10_000

export function createAdmitter(budget: Budget, clock: Clock): Admitter {
  const queues = new Map<string, Waiting[]>()
  const jobs = budget.jobs ?? Infinity
  let running = 0
  let busy = 0
  let memoryUsed = 0
  let waiting = 0

  const jobShare = Math.max(1, Math.floor(jobs * SHARE_OF_ONE))
  const share = Math.max(1, Math.min(jobShare, Math.floor(budget.runnable * SHARE_OF_ONE)))
  const memoryShare = Math.floor(budget.memory * (budget.isOneAlone ? 1 : SHARE_OF_ONE))
  const queueShare = Math.max(1, Math.floor(budget.queueMax * SHARE_OF_ONE))
  const runningOf = new Map<string, number>()
  const busyOf = new Map<string, number>()
  const memoryOf = new Map<string, number>()

  const isBelowShare = (tenant: string, { walls, memory }: Wanted) =>
    (runningOf.get(tenant) ?? 0) + walls <= jobShare &&
    (busyOf.get(tenant) ?? 0) + walls <= share &&
    (memoryOf.get(tenant) ?? 0) + memory <= memoryShare
  const fits = (tenant: string, wanted: Wanted) => isBelowShare(tenant, wanted) && isRoomFor(wanted)
  const isRoomFor = ({ memory, walls }: Wanted) =>
    running + walls <= jobs &&
    busy + walls <= budget.runnable &&
    memoryUsed + memory <= budget.memory

  /** Whoever waits at his own share stands in nobody's way. */
  const isFirst = () => ![...queues].some(([tenant, [first]]) => isBelowShare(tenant, first!))

  /** A queue that is full has a place for whoever has none in it, as long as those are no more than it has places. */
  function isFull(tenant: string): boolean {
    const own = queues.get(tenant)?.length ?? 0
    if (own === 0) return queues.size >= budget.queueMax
    return own >= queueShare || waiting >= budget.queueMax
  }

  function countWalls(tenant: string, walls: number): void {
    running += walls
    add(runningOf, tenant, walls)
  }

  function countUse(tenant: string, { walls, memory }: Wanted, by: 1 | -1): void {
    busy += by * walls
    memoryUsed += by * memory
    add(busyOf, tenant, by * walls)
    add(memoryOf, tenant, by * memory)
  }

  function take(tenant: string, wanted: Wanted, since: number): Place {
    let counted = wanted
    let left = false
    countWalls(tenant, wanted.walls)
    countUse(tenant, counted, 1)
    return {
      waited: clock.now() - since,
      recount({ isBusy, memory }) {
        if (left) return
        countUse(tenant, counted, -1)
        counted = { walls: isBusy ? wanted.walls : 0, memory: Math.max(0, memory) }
        countUse(tenant, counted, 1)
        if (waiting > 0) next()
      },
      leave() {
        if (left) return
        left = true
        countWalls(tenant, -wanted.walls)
        countUse(tenant, counted, -1)
        next()
      },
    }
  }

  /** The tenant at the front gives one and goes to the back. */
  function next(): void {
    for (const [tenant, queue] of Array.from(queues)) {
      const first = queue[0]!
      if (!fits(tenant, first)) continue
      remove(tenant, first)
      const rest = queues.get(tenant)
      if (rest) {
        queues.delete(tenant)
        queues.set(tenant, rest)
      }
      first.go(take(tenant, first, first.since))
    }
  }

  function remove(tenant: string, one: Waiting): void {
    const queue = queues.get(tenant) ?? []
    const index = queue.indexOf(one)
    if (index < 0) return
    queue.splice(index, 1)
    one.timer.cancel()
    waiting--
    if (queue.length === 0) queues.delete(tenant)
  }

  function wait(tenant: string, wanted: Wanted, signal: AbortSignal): Promise<Place> {
    const { promise, resolve, reject } = Promise.withResolvers<Place>()
    const give = (error: Error) => {
      remove(tenant, one)
      signal.removeEventListener('abort', cancel)
      reject(error)
    }
    const cancel = () => give(new DOMException('The job was cancelled', 'AbortError'))
    const one: Waiting = {
      ...wanted,
      since: clock.now(),
      timer: clock.after(budget.waitMsMax, () =>
        give(overloaded('waited too long for a place', budget)),
      ),
      go: (place) => {
        signal.removeEventListener('abort', cancel)
        resolve(place)
      },
    }
    signal.addEventListener('abort', cancel, { once: true })
    queues.set(tenant, [...(queues.get(tenant) ?? []), one])
    waiting++
    return promise
  }

  return {
    async enter(tenant, memory, signal, asked = 1) {
      if (signal.aborted) throw new DOMException('The job was cancelled', 'AbortError')
      if (memory > memoryShare) {
        throw new MayflyError(
          'UNAVAILABLE',
          `Cannot grant ${memory} bytes: of what this machine has for jobs, one tenant may have ${memoryShare}`,
          {
            hint: 'Ask for less memory, or use a larger machine',
          },
        )
      }
      // One that is made of more walls than anybody may have waits until it is alone with its share.
      const wanted = { memory, walls: Math.min(asked, share) }
      if (!queues.has(tenant) && isFirst() && fits(tenant, wanted)) {
        return take(tenant, wanted, clock.now())
      }
      if (isFull(tenant)) throw overloaded('the queue is full', budget)
      return wait(tenant, wanted, signal)
    },
    get running() {
      return running
    },
    get busy() {
      return busy
    },
    get waiting() {
      return waiting
    },
    get memory() {
      return memoryUsed
    },
  }
}

function add(to: Map<string, number>, tenant: string, by: number): void {
  const now = (to.get(tenant) ?? 0) + by
  if (now > 0) to.set(tenant, now)
  else to.delete(tenant)
}

function overloaded(why: string, budget: Budget): MayflyError {
  return new MayflyError('OVERLOADED', `Cannot take the job now: ${why}`, {
    hint: 'Try again later, or run fewer jobs at once; [server] jobs and queue_wait say how many and how long',
    retryAfterMs: Math.min(budget.waitMsMax, RETRY_AFTER_MS_MAX),
  })
}

import assert from 'node:assert/strict'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'

/**
 * Admission control: keeps the sum of all live walls within a budget.
 *
 * Problem: jobs ask for more memory and CPU than they use, and one tenant may flood the queue.
 *
 * Mechanism: a job counts with its ceilings until measured, then with its measured use. Jobs that do not fit wait in
 * a bounded queue, round-robin over tenants, and are refused after a deadline with a retry time. No tenant may hold
 * more than a share of walls, memory and queue, so another one always finds a slot.
 *
 * Not handled: actual use above the measured one between two measurements; the walls' own limits bound it.
 */
export interface AdmissionBudget {
  /** Memory of all jobs together, in bytes. */
  readonly memory: number
  /** Limit of busy (runnable) walls. */
  readonly runnable: number
  /** Limit of job walls, sleeping ones included; unlimited by default. */
  readonly jobs?: number
  readonly queueMax: number
  readonly waitMsMax: number
  /** Single tenant: it may use all of the memory. */
  readonly isOneAlone?: boolean
}

export interface AdmissionSlot {
  readonly waited: number
  /** Replaces the counted use by a measured one. */
  updateUse(now: MeasuredUse): void
  release(): void
}

export interface MeasuredUse {
  /** True if it uses or waits for the CPU. */
  readonly isBusy: boolean
  /** Bytes, including a margin. */
  readonly memory: number
}

export interface Admitter {
  /** `walls`: number of walls the job consists of. */
  admit(tenant: string, memory: number, signal: AbortSignal, walls?: number): Promise<AdmissionSlot>
  /** Admitted walls, and those of them that are busy. */
  readonly running: number
  readonly busy: number
  readonly waiting: number
  /** Counted memory of admitted jobs, in bytes. */
  readonly memory: number
}

interface QueuedJob extends RequestedRoom {
  readonly since: number
  readonly go: (place: AdmissionSlot) => void
  readonly timer: Timer
}

interface RequestedRoom {
  readonly memory: number
  readonly walls: number
}

/** Largest share of one tenant in walls, memory and queue. */
const SHARE_OF_ONE = 0.75
/** Cap on Retry-After: slots free up sooner than the longest wait. */
const RETRY_AFTER_MS_MAX = 10_000

export function createAdmitter(budget: AdmissionBudget, clock: Clock): Admitter {
  const queues = new Map<string, QueuedJob[]>()
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

  const isBelowShare = (tenant: string, { walls, memory }: RequestedRoom) =>
    (runningOf.get(tenant) ?? 0) + walls <= jobShare &&
    (busyOf.get(tenant) ?? 0) + walls <= share &&
    (memoryOf.get(tenant) ?? 0) + memory <= memoryShare
  const fits = (tenant: string, wanted: RequestedRoom) =>
    isBelowShare(tenant, wanted) && isRoomFor(wanted)
  const isRoomFor = ({ memory, walls }: RequestedRoom) =>
    running + walls <= jobs &&
    busy + walls <= budget.runnable &&
    memoryUsed + memory <= budget.memory

  /** Tenants waiting at their own share do not block others. */
  const isUncontended = () => ![...queues].some(([tenant, [first]]) => isBelowShare(tenant, first!))

  /** A full queue still takes the first job of a tenant, as long as the tenants waiting are fewer than its slots. */
  function isFull(tenant: string): boolean {
    const own = queues.get(tenant)?.length ?? 0
    if (own === 0) return queues.size >= budget.queueMax
    return own >= queueShare || waiting >= budget.queueMax
  }

  function countWalls(tenant: string, walls: number): void {
    running += walls
    add(runningOf, tenant, walls)
    assert(running >= 0 && running <= jobs, `${running} walls are admitted, of at most ${jobs}`)
  }

  function countUse(tenant: string, { walls, memory }: RequestedRoom, by: 1 | -1): void {
    busy += by * walls
    memoryUsed += by * memory
    add(busyOf, tenant, by * walls)
    add(memoryOf, tenant, by * memory)
    assertCounted({ running, busy, memory: memoryUsed })
  }

  function take(tenant: string, wanted: RequestedRoom, since: number): AdmissionSlot {
    let counted = wanted
    let left = false
    countWalls(tenant, wanted.walls)
    countUse(tenant, counted, 1)
    return {
      waited: clock.now() - since,
      updateUse({ isBusy, memory }) {
        if (left) return
        assert(Number.isFinite(memory), `a wall was measured with ${memory} bytes`)
        countUse(tenant, counted, -1)
        counted = { walls: isBusy ? wanted.walls : 0, memory: Math.max(0, memory) }
        countUse(tenant, counted, 1)
        if (waiting > 0) next()
      },
      release() {
        if (left) return
        left = true
        countWalls(tenant, -wanted.walls)
        countUse(tenant, counted, -1)
        next()
      },
    }
  }

  /** Round-robin: a tenant that was served moves to the back. */
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

  function remove(tenant: string, one: QueuedJob): void {
    const queue = queues.get(tenant) ?? []
    const index = queue.indexOf(one)
    if (index < 0) return
    queue.splice(index, 1)
    one.timer.cancel()
    waiting--
    if (queue.length === 0) queues.delete(tenant)
  }

  function wait(
    tenant: string,
    wanted: RequestedRoom,
    signal: AbortSignal,
  ): Promise<AdmissionSlot> {
    const { promise, resolve, reject } = Promise.withResolvers<AdmissionSlot>()
    const give = (error: Error) => {
      remove(tenant, one)
      signal.removeEventListener('abort', cancel)
      reject(error)
    }
    const cancel = () => give(new DOMException('The job was cancelled', 'AbortError'))
    const one: QueuedJob = {
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
    async admit(tenant, memory, signal, asked = 1) {
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
      // A job with more walls than the share waits until the tenant runs nothing else.
      const wanted = { memory, walls: Math.min(asked, share) }
      if (!queues.has(tenant) && isUncontended() && fits(tenant, wanted)) {
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

/** Throws AssertionError where walls or bytes were given back twice, or not at all. */
export function assertCounted(
  counts: Readonly<Record<'running' | 'busy' | 'memory', number>>,
): void {
  const { running, busy, memory } = counts
  assert(busy >= 0 && busy <= running, `${busy} of ${running} admitted walls are busy`)
  assert(memory >= 0, `${memory} bytes are counted`)
  assert(running > 0 || memory === 0, `${memory} bytes are counted, and no wall is admitted`)
}

function add(to: Map<string, number>, tenant: string, by: number): void {
  const now = (to.get(tenant) ?? 0) + by
  if (now > 0) to.set(tenant, now)
  else to.delete(tenant)
}

function overloaded(why: string, budget: AdmissionBudget): MayflyError {
  return new MayflyError('OVERLOADED', `Cannot take the job now: ${why}`, {
    hint: 'Try again later, or run fewer jobs at once; [server] jobs and queue_wait say how many and how long',
    retryAfterMs: Math.min(budget.waitMsMax, RETRY_AFTER_MS_MAX),
  })
}

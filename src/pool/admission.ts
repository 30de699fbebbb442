import assert from 'node:assert/strict'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import { exactDuration } from '../contract/unit-text.ts'
import { AdmissionCounts, type AdmissionBudget, type RequestedRoom } from './admission-counts.ts'

/**
 * Admission control: keeps the sum of all live walls within a budget.
 *
 * Problem: jobs ask for more memory and CPU than they use, and one tenant may flood the queue.
 *
 * Mechanism: a job counts with its ceilings until measured, then with its measured use. Jobs that do not fit wait in a
 * bounded queue, round-robin over tenants, and are refused after a deadline with a retry time. No tenant may hold more
 * than a share of walls, memory and queue, so another one always finds a slot. Some slots (express) are reserved for
 * jobs that are expected to be short: these overtake long jobs in the queue.
 *
 * Not handled: use above the last measured value until the next sample; the walls' own limits bound it.
 */
export class Admitter {
  readonly #budget: AdmissionBudget
  readonly #clock: Clock
  readonly #counts: AdmissionCounts
  /** By tenant; no queue is empty. */
  readonly #queues = new Map<string, QueuedJob[]>()
  #waiting = 0

  constructor(budget: AdmissionBudget, clock: Clock) {
    this.#budget = budget
    this.#clock = clock
    this.#counts = new AdmissionCounts(budget)
  }

  async admit(
    tenant: string,
    memory: number,
    signal: AbortSignal,
    { walls: asked = 1, isShort = () => false, isSession = false, queued }: JobNeed = {},
  ): Promise<AdmissionSlot> {
    if (signal.aborted) throw new DOMException('The job was cancelled', 'AbortError')
    const { shares } = this.#counts
    if (memory > shares.memory) throw tooLarge(memory, shares.memory)
    // A job with more walls than the share waits until the tenant runs nothing else.
    const wanted = { memory, walls: Math.min(asked, shares.busy) }
    if (isSession && this.#counts.isShareHeld(tenant, wanted)) throw shareHeld()
    if (!this.#queues.has(tenant) && this.#isUncontended() && this.#counts.fits(tenant, wanted))
      return this.#take(tenant, { ...wanted, forShort: isShort() }, this.#clock.now())
    const express = expressOf(wanted)
    if (isShort() && this.#counts.fits(tenant, express) && !this.#nextShort(tenant))
      return this.#take(tenant, express, this.#clock.now())
    if (this.#isFull(tenant)) throw overloaded('the queue is full', this.#budget)
    const waiting = this.#wait(tenant, { ...wanted, isShort }, signal)
    queued?.(this.#waiting)
    return waiting
  }

  /** Number of admitted walls; `busy` counts those that are runnable. */
  get running(): number {
    return this.#counts.running
  }

  get busy(): number {
    return this.#counts.busy
  }

  get waiting(): number {
    return this.#waiting
  }

  /** Counted memory of admitted jobs, in bytes. */
  get memory(): number {
    return this.#counts.memory
  }

  /** A tenant that waits because of its own share blocks no other tenant. */
  #isUncontended(): boolean {
    for (const [tenant, [first]] of this.#queues)
      if (this.#counts.isBelowShare(tenant, first!)) return false
    return true
  }

  /** A full queue still accepts the first job of a tenant, as long as fewer tenants wait than it has slots. */
  #isFull(tenant: string): boolean {
    const { queueMax } = this.#budget
    const own = this.#queues.get(tenant)?.length ?? 0
    if (own === 0) return this.#queues.size >= queueMax
    return own >= this.#counts.shares.queue || this.#waiting >= queueMax
  }

  #take(tenant: string, wanted: RequestedRoom, since: number): AdmissionSlot {
    let counted = wanted
    let left = false
    const counts = this.#counts
    counts.countWalls(tenant, wanted.walls)
    counts.countUse(tenant, counted, 1)
    return {
      waited: this.#clock.now() - since,
      updateUse: ({ isBusy, memory }) => {
        if (left) return
        assert(Number.isFinite(memory), `a wall was measured with ${memory} bytes`)
        counts.countUse(tenant, counted, -1)
        counted = { ...wanted, walls: isBusy ? wanted.walls : 0, memory: Math.max(0, memory) }
        counts.countUse(tenant, counted, 1)
        if (this.#waiting > 0) this.#next()
      },
      release: () => {
        if (left) return
        left = true
        counts.countWalls(tenant, -wanted.walls)
        counts.countUse(tenant, counted, -1)
        this.#next()
      },
    }
  }

  /** Round-robin: a tenant that was served moves to the back. */
  #next(): void {
    for (const [tenant, queue] of Array.from(this.#queues)) {
      const first = queue[0]!
      if (this.#counts.fits(tenant, first)) {
        this.#remove(tenant, first)
        this.#moveBack(tenant)
        const room = { ...roomOf(first), forShort: first.isShort() }
        first.go(this.#take(tenant, room, first.since))
        continue
      }
      const short = this.#nextShort(tenant)
      if (!short) continue
      this.#remove(tenant, short)
      short.go(this.#take(tenant, expressOf(short), short.since))
    }
  }

  #moveBack(tenant: string): void {
    const rest = this.#queues.get(tenant)
    if (rest) {
      this.#queues.delete(tenant)
      this.#queues.set(tenant, rest)
    }
  }

  /** First waiting job that is expected to be short and fits an express slot now. */
  #nextShort(tenant: string): QueuedJob | undefined {
    const fits = (one: QueuedJob) => this.#counts.fits(tenant, expressOf(one))
    return this.#queues.get(tenant)?.find((one) => one.isShort() && fits(one))
  }

  #remove(tenant: string, one: QueuedJob): void {
    const queue = this.#queues.get(tenant) ?? []
    const index = queue.indexOf(one)
    if (index < 0) return
    queue.splice(index, 1)
    one.timer.cancel()
    this.#waiting--
    if (queue.length === 0) this.#queues.delete(tenant)
  }

  #wait(
    tenant: string,
    wanted: RequestedRoom & { readonly isShort: () => boolean },
    signal: AbortSignal,
  ): Promise<AdmissionSlot> {
    const { promise, resolve, reject } = Promise.withResolvers<AdmissionSlot>()
    const { waitMsMax } = this.#budget
    const give = (error: Error) => {
      this.#remove(tenant, one)
      signal.removeEventListener('abort', cancel)
      reject(error)
    }
    const cancel = () => give(new DOMException('The job was cancelled', 'AbortError'))
    const one: QueuedJob = {
      ...wanted,
      since: this.#clock.now(),
      timer: this.#clock.after(waitMsMax, () =>
        give(overloaded(waitedTooLong(waitMsMax), this.#budget)),
      ),
      go: (place) => {
        signal.removeEventListener('abort', cancel)
        resolve(place)
      },
    }
    signal.addEventListener('abort', cancel, { once: true })
    this.#queues.getOrInsert(tenant, []).push(one)
    this.#waiting++
    return promise
  }
}

export interface JobNeed {
  /** Number of walls the job consists of; 1 by default. */
  readonly walls?: number
  /** True if the job is expected to use little CPU time; evaluated again when a slot is free. */
  readonly isShort?: () => boolean
  /** A session beyond its tenant's share is refused at once instead of queued, since sessions end late. */
  readonly isSession?: boolean
  /** Called if the job has to wait, with the length of the queue. */
  readonly queued?: (waiting: number) => void
}

export interface AdmissionSlot {
  readonly waited: number
  /** Replaces the counted use by a measured one. */
  updateUse(now: MeasuredUse): void
  release(): void
}

export interface MeasuredUse {
  /** True if the wall uses the CPU or waits for it. */
  readonly isBusy: boolean
  /** Bytes, including a margin. */
  readonly memory: number
}

interface QueuedJob extends RequestedRoom {
  readonly isShort: () => boolean
  readonly since: number
  readonly go: (place: AdmissionSlot) => void
  readonly timer: Timer
}

/** Cap on Retry-After: slots free up sooner than the longest wait. */
const RETRY_AFTER_MS_MAX = 10_000
/** Retry-After for a session beyond its tenant's share. */
const SHARE_RETRY_MS = 1000

const roomOf = ({ memory, walls }: RequestedRoom): RequestedRoom => ({ memory, walls })
const expressOf = (one: RequestedRoom): RequestedRoom => ({ ...roomOf(one), isExpress: true })

function tooLarge(memory: number, share: number): MayflyError {
  const message = `Cannot grant ${memory} bytes: the memory share of one tenant is ${share}`
  return new MayflyError('UNAVAILABLE', message, {
    hint: 'Ask for less memory, or use a larger machine',
  })
}

function shareHeld(): MayflyError {
  return new MayflyError('RATE_LIMITED', 'Cannot open another session: this tenant has its share', {
    hint: 'End a session, or wait for the end of a job; [server] jobs is the limit',
    retryAfterMs: SHARE_RETRY_MS,
  })
}

const waitedTooLong = (waitMsMax: number) =>
  `waited too long for a place: ${exactDuration(waitMsMax)}, "server.queue_wait" in the operator's configuration`

function overloaded(why: string, budget: AdmissionBudget): MayflyError {
  return new MayflyError('OVERLOADED', `Cannot accept the job now: ${why}`, {
    hint: 'Try again later, or run fewer jobs at once; [server] jobs and queue_wait are the limits',
    retryAfterMs: Math.min(budget.waitMsMax, RETRY_AFTER_MS_MAX),
  })
}

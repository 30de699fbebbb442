import type { MemorySample } from '../contract/engine.ts'
import type { WallEnd } from '../contract/warden.ts'
import { createSleep, type Sleep } from '../lib/sleep.ts'
import type { Pressure } from './pressure.ts'

/**
 * Enforces memory and deadline of claimed walls from outside, whether or not the kernel does too. Every wall with a job is
 * sampled each few milliseconds; allocations between two samples are the slack of its bound. CLOCK_MONOTONIC stops while
 * the machine is suspended, so deadlines are moved by that time.
 *
 * While no wall has a job, the timer has the interval of idle walls: an idle server would else wake up a hundred times a
 * second for nothing. The first sample of a job comes as soon as it did, and an idle wall is sampled as often as before.
 */
export interface SampledWall {
  readonly wall: string
  /** On the monotonic clock; moved earlier by the time for which the machine was suspended. */
  deadlineAt: number
  peakBytes: number
  /** Resident bytes of the last sample. */
  bytes?: number
  /** Bytes before its job. */
  readonly idleBytes?: number
  readonly tenant?: string | undefined
  /** Throws if the wall cannot be sampled. */
  readonly sample: (nowMs: number) => MemorySample
}

export class Sampler {
  readonly #walls = new Map<string, SampledWall>()
  readonly #active = new Set<SampledWall>()
  readonly #end: (wall: SampledWall, how: WallEnd) => void
  readonly #everyMs: number
  readonly #sleep: Sleep
  readonly #pressure: Pressure | undefined
  #looks = 0
  #sleepCheckAt = 0
  #timer: NodeJS.Timeout | undefined
  /** The timer has the interval of idle walls. */
  #isSlow = false

  constructor(
    end: (wall: SampledWall, how: WallEnd) => void,
    everyMs: number,
    { sleep = createSleep(), pressure }: SamplerParts = {},
  ) {
    this.#end = end
    this.#everyMs = everyMs
    this.#sleep = sleep
    this.#pressure = pressure
  }

  /** Walls that have a job. */
  get active(): Iterable<SampledWall> {
    return this.#active
  }

  get isResting(): boolean {
    return this.#active.size === 0
  }

  add(one: SampledWall): void {
    this.#age(performance.now())
    const before = this.#walls.get(one.wall)
    if (before) this.#active.delete(before)
    this.#walls.set(one.wall, one)
    this.#activate(one)
  }

  /**
   * Arms the deadline of a wall's next job, in milliseconds; its memory bound was in force all the time. False if it is
   * not sampled, or if its deadline has passed: such a wall ends, and no request extends its deadline. `keepsPeak`: the job
   * has begun since its claim, and what it used by now is its own.
   */
  rearm(wall: string, deadlineMs: number, keepsPeak = false): boolean {
    const now = performance.now()
    this.#age(now)
    const one = this.#walls.get(wall)
    if (!one) return false
    if (now >= one.deadlineAt) {
      this.#finish(one, 'deadline')
      return false
    }
    one.deadlineAt = now + deadlineMs
    if (!keepsPeak) one.peakBytes = 0
    this.#activate(one)
    return true
  }

  /** Moves the deadline of a job to `ms` from now at least; one that has passed stays, and its wall ends. */
  extend(wall: string, ms: number): void {
    const now = performance.now()
    const one = this.#walls.get(wall)
    if (one && now < one.deadlineAt) one.deadlineAt = Math.max(one.deadlineAt, now + ms)
  }

  /** Ends a job: lifts the deadline; the memory bound stays. Returns the wall. */
  rest(wall: string): SampledWall | undefined {
    const one = this.#walls.get(wall)
    if (!one) return undefined
    this.#active.delete(one)
    const { peakBytes } = one
    one.deadlineAt = Infinity
    one.peakBytes = 0
    return { ...one, peakBytes }
  }

  forget(wall: string): SampledWall | undefined {
    const one = this.#walls.get(wall)
    this.#walls.delete(wall)
    if (one) this.#active.delete(one)
    return one
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #activate(one: SampledWall): void {
    this.#active.add(one)
    if (this.#timer && !this.#isSlow) return
    // The next look is at idle walls too: the slow timer may have been about to fire.
    if (this.#timer) this.#looks = RESTING_EVERY - 1
    this.#lookEvery(this.#everyMs)
  }

  #lookEvery(ms: number): void {
    clearInterval(this.#timer)
    this.#isSlow = ms > this.#everyMs
    const look = () => (this.#walls.size > 0 ? this.#check() : this.close())
    this.#timer = setInterval(look, ms)
  }

  #check(): void {
    const now = performance.now()
    this.#looks = this.#isSlow ? 0 : (this.#looks + 1) % RESTING_EVERY
    if (!this.#isSlow && this.#looks === 0 && this.isResting)
      this.#lookEvery(this.#everyMs * RESTING_EVERY)
    // An idle wall has no deadline to move, and the next one is set after a check of its own.
    if (now >= this.#sleepCheckAt && !this.isResting) this.#age(now)
    for (const one of this.#looks === 0 ? this.#walls.values() : this.#active) {
      const how = causeOf(one, now)
      if (how) this.#finish(one, how)
    }
    for (const victim of this.#pressure?.(this.#active, now) ?? []) this.#finish(victim, 'pressure')
  }

  /** Moves all deadlines earlier by the time for which the machine was suspended. */
  #age(now: number): void {
    this.#sleepCheckAt = now + SLEEP_CHECK_MS
    const slept = this.#sleep.check()
    if (slept > 0) for (const one of this.#walls.values()) one.deadlineAt -= slept
  }

  #finish(one: SampledWall, how: WallEnd): void {
    this.#active.delete(one)
    this.#walls.delete(one.wall)
    this.#end(one, how)
  }
}

/** An idle wall is sampled at every eighth tick: a compromised worker may allocate while it has no job. */
const RESTING_EVERY = 8
/** Milliseconds between two reads of CLOCK_BOOTTIME, which includes the time of a suspend. */
const SLEEP_CHECK_MS = 50

export interface SamplerParts {
  readonly sleep?: Sleep
  /** Returns the walls to end because the machine is short of memory. */
  readonly pressure?: Pressure | undefined
}

/**
 * Cause to end a wall: memory over its bound, an OOM kill, tasks, scratch, its deadline. Fails closed: a wall that
 * cannot be sampled ends; the others are still sampled.
 */
function causeOf(one: SampledWall, now: number): WallEnd | undefined {
  try {
    const { bytes, bytesMax, isOutOfMemory, hasTooManyTasks, hasTooMuchDisk } = one.sample(now)
    one.bytes = bytes
    one.peakBytes = Math.max(one.peakBytes, bytes)
    // Not its peak: a bound may have fallen since.
    if (bytes > bytesMax || isOutOfMemory) return 'memory'
    if (hasTooManyTasks) return 'processes'
    if (hasTooMuchDisk) return 'disk'
    return now >= one.deadlineAt ? 'deadline' : undefined
  } catch {
    return 'killed'
  }
}

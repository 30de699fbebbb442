import { createSleep, type Sleep } from '../lib/sleep.ts'

/**
 * Injected time. Everything that waits or measures takes a Clock, so that a simulated clock can run
 * ten thousand lives in a second and replay them from a seed.
 */
export interface Clock {
  /** Milliseconds on a monotonic clock. Only differences mean anything. */
  now(): number
  /** Wall-clock milliseconds since 1970, for records alone; no decision reads it. */
  date(): number
  /** Calls back once, `ms` from now or as soon after as possible. */
  after(ms: number, then: () => void): Timer
}

export interface Timer {
  /** Idempotent; a cancelled timer never calls back. */
  cancel(): void
  /** Lets the process exit while the timer is pending, with a real clock. */
  unref?(): void
}

/**
 * Date for expiries: of the wall clock, and never earlier than its date here plus the time that has passed since. A clock
 * that is set back, by an operator or by time packets that nobody signs, revives no expired key or signature of this
 * process; one that is set forward and corrected again is believed both times.
 */
export function expiryDate(clock: Pick<Clock, 'now' | 'date'>): () => number {
  const since = { now: clock.now(), date: clock.date() }
  return () => Math.max(clock.date(), since.date + clock.now() - since.now)
}

/** Upper bound for noticing that the machine was suspended. */
const LOOK_EVERY_MS = 50

/**
 * The real clock. It counts suspend time (CLOCK_BOOTTIME): a life whose deadline passed in suspend
 * ends on resume.
 */
export function createClock(sleep: Sleep = createSleep()): Clock {
  const waiting = new Set<() => void>()
  let slept = 0
  let looking: NodeJS.Timeout | undefined

  const now = () => performance.now() + slept

  function look(): void {
    const more = sleep.look()
    slept += more
    if (more > 0) for (const wake of waiting) wake()
    if (waiting.size > 0) return
    clearInterval(looking)
    looking = undefined
  }

  function after(ms: number, then: () => void): Timer {
    if (!looking) slept += sleep.look()
    const due = now() + ms
    let timer = setTimeout(call, ms)
    waiting.add(wake)
    looking ??= setInterval(look, LOOK_EVERY_MS).unref()
    return {
      cancel: stop,
      unref: () => void timer.unref(),
    }

    function call(): void {
      waiting.delete(wake)
      then()
    }
    function wake(): void {
      const keepsAlive = timer.hasRef()
      clearTimeout(timer)
      timer = setTimeout(call, Math.max(0, due - now()))
      if (!keepsAlive) timer.unref()
    }
    function stop(): void {
      waiting.delete(wake)
      clearTimeout(timer)
    }
  }

  return { now, date: () => Date.now(), after }
}

export const systemClock: Clock = createClock()

import { createSleep, type Sleep } from '../lib/sleep.ts'

/**
 * Injected time. Everything that waits or measures takes a Clock, so that a simulated clock can run
 * ten thousand lives in a second and replay them from a seed.
 */
export interface Clock {
  /** Milliseconds on a monotonic clock. Only differences mean anything. */
  now(): number
  /** Wall-clock milliseconds since 1970, for records and expiries (`expiryDate`); no timer uses it. */
  date(): number
  /** Calls back once, `ms` from now or as soon after as possible. */
  after(ms: number, then: () => void): Timer
}

export interface Timer {
  /** Idempotent; a cancelled timer never calls back. */
  cancel(): void
  /** Lets the process exit while the timer is pending, with a real clock. */
  unref?(): void
  /**
   * For upkeep that nobody waits for: as `unref`, and time for which the machine was suspended does not count. So an idle
   * process that waits for nothing else does not wake up to look for a suspend.
   */
  asUpkeep?(): void
}

/**
 * Clock for expiries, in milliseconds since 1970: the wall clock, but never earlier than its value at this call plus the
 * monotonic time since. Setting the wall clock back, by an operator or by unauthenticated NTP, therefore revives no expired
 * key or signature in this process. A wall clock that is set forward is believed, and so is its later correction.
 */
export function expiryDate(clock: Pick<Clock, 'now' | 'date'>): () => number {
  const since = { now: clock.now(), date: clock.date() }
  return () => Math.max(clock.date(), since.date + clock.now() - since.now)
}

/** Interval of checks for a suspend of the machine, while a timer is pending that is no upkeep. */
const SUSPEND_CHECK_MS = 50

/**
 * The real clock. It counts suspend time (CLOCK_BOOTTIME): a life whose deadline passed in suspend
 * ends on resume.
 */
export function createClock(sleep: Sleep = createSleep()): Clock {
  const waiting = new Set<() => void>()
  let slept = 0
  let checkedAt = performance.now()
  let suspendCheck: NodeJS.Timeout | undefined

  /** A start that was taken from a stale clock would count a suspend before it. */
  function now(): number {
    if (performance.now() - checkedAt >= SUSPEND_CHECK_MS) countSuspend()
    return performance.now() + slept
  }

  function countSuspend(): void {
    checkedAt = performance.now()
    const more = sleep.check()
    slept += more
    if (more > 0) for (const wake of waiting) wake()
  }

  function checkSuspend(): void {
    countSuspend()
    if (waiting.size === 0) endChecks()
  }

  function endChecks(): void {
    clearInterval(suspendCheck)
    suspendCheck = undefined
  }

  function after(ms: number, then: () => void): Timer {
    const due = now() + ms
    let timer = setTimeout(call, ms)
    waiting.add(wake)
    suspendCheck ??= setInterval(checkSuspend, SUSPEND_CHECK_MS).unref()
    return {
      cancel: stop,
      unref: () => void timer.unref(),
      asUpkeep() {
        waiting.delete(wake)
        timer.unref()
        if (waiting.size === 0) endChecks()
      },
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

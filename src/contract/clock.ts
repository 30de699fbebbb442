import { createSleep, type Sleep } from '../lib/sleep.ts'

/**
 * Time, handed in. Everything that waits or measures takes one of these, so that ten thousand lives can be
 * lived in a second by a simulated clock and replayed from a seed.
 */
export interface Clock {
  /** Milliseconds on a clock that never goes back and that nobody can set. Only differences mean anything. */
  now(): number
  /** Wall-clock milliseconds since 1970, for records alone; no decision reads it. */
  date(): number
  /** Calls back once, `ms` from now or as soon after as can be. */
  after(ms: number, then: () => void): Timer
}

export interface Timer {
  /** Idempotent; a cancelled timer never calls back. */
  cancel(): void
  /** Lets the process end while it waits, where the clock is a real one. */
  unref?(): void
}

/** How late what waits may hear that the machine was asleep. */
const LOOK_EVERY_MS = 50

/** The real one. While the machine sleeps it goes on: a life that was over by then is over when it wakes. */
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

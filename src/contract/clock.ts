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

export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => Date.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms)
    return { cancel: () => clearTimeout(timer), unref: () => timer.unref() }
  },
}

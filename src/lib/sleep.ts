import os from 'node:os'

/**
 * How long this machine slept. `performance.now` and every timer of Node's stand still meanwhile (CLOCK_MONOTONIC),
 * while /proc/uptime goes on (CLOCK_BOOTTIME): what the second is ahead of the first was slept.
 */
export interface Sleep {
  /** Milliseconds slept since the last look; 0 where it was awake, or where nobody counts. */
  look(): number
}

/** Milliseconds of either clock. */
export interface Clocks {
  steady(): number
  boot(): number
}

/** Less than this is how coarse /proc/uptime is, and how long a look itself may be held up. */
const NOTICED_MS_MIN = 50

const clocks: Clocks = {
  steady: () => performance.now(),
  // Elsewhere it is counted from a clock that somebody can set.
  boot: () => (process.platform === 'linux' ? os.uptime() * 1000 : performance.now()),
}

export function createSleep({ steady, boot }: Clocks = clocks): Sleep {
  // Held up between two readings, it seems awake and never asleep: the other order here than at a look.
  const first = steady()
  let ahead = boot() - first
  return {
    look() {
      const now = boot() - steady()
      const slept = now - ahead
      if (slept < NOTICED_MS_MIN) return 0
      ahead = now
      return slept
    },
  }
}

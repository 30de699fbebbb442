import os from 'node:os'

/**
 * Detects suspend. `performance.now` and Node's timers stop during suspend (CLOCK_MONOTONIC), while
 * /proc/uptime continues (CLOCK_BOOTTIME): a growing difference is the time suspended.
 */
export interface Sleep {
  /** Milliseconds suspended since the last call; 0 without suspend, or without a boot clock. */
  check(): number
}

/** Readings of both clocks, in milliseconds. */
export interface Clocks {
  steady(): number
  boot(): number
}

/** Noise floor: the resolution of /proc/uptime, and a delay between the two readings. */
const NOTICED_MS_MIN = 50

const clocks: Clocks = {
  steady: () => performance.now(),
  // On other systems uptime derives from a clock that can be set.
  boot: () => (process.platform === 'linux' ? os.uptime() * 1000 : performance.now()),
}

export function createSleep({ steady, boot }: Clocks = clocks): Sleep {
  // In reverse order of `look`, so that a delay between the two readings is never mistaken for a suspend.
  const first = steady()
  let ahead = boot() - first
  return {
    check() {
      const now = boot() - steady()
      const slept = now - ahead
      if (slept < NOTICED_MS_MIN) return 0
      ahead = now
      return slept
    },
  }
}

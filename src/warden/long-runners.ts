/**
 * Long-running walls, which get less CPU weight than the others: a multi-level feedback queue of two levels.
 *
 * Problem: a job of 5 ms must not wait behind programs that compute for minutes, and run times are not known in
 * advance.
 *
 * Mechanism: every job begins with the usual weight. Once its wall has used `LONG_MS` of CPU time without a pause, the
 * weight drops to a fiftieth, little more than the time that the others leave. A wall with next to no CPU time in a
 * whole second either starves or sleeps. It gets its weight back for a quarter of a second, which ends starvation and
 * distinguishes the two: a wall that still sleeps has paused, and keeps the usual weight. Bounds do not change: on an
 * idle machine a long-running wall loses nothing.
 *
 * Source: the feedback scheduler of CTSS (Corbató et al., 1962). Relies on the CPU controller of cgroups; without it
 * the kernel shares the CPU evenly. Not handled: a wall that sleeps for a second each time before it counts as
 * long-running.
 */

/** CPU time in milliseconds without a pause after which a wall is long-running. */
const LONG_MS = 500
/** CPU use in cores below which a wall sleeps or starves. */
const QUIET_BELOW = 0.02
/** Milliseconds below `QUIET_BELOW` that make a pause; a long-running wall gets its weight back for a while then. */
const PAUSE_MS = 1_000
const FORWARD_MS = 250
/** Shortest interval of two samples: the kernel counts CPU time in ticks of up to 10 ms. */
const LOOK_MS_MIN = 100

export interface Rank {
  /** True if it is long-running. */
  readonly isLong: boolean
  readonly isBehind: boolean
}

interface Runner extends Rank {
  readonly atMs: number
  readonly cpuMs: number
  /** CPU time at the end of its last pause. */
  readonly awakeFrom: number
  /** Begin of the interval over which its CPU use is measured. */
  readonly since: { readonly atMs: number; readonly cpuMs: number }
}

export class LongRunners {
  readonly #runners = new Map<string, Runner>()

  /** Takes a sample; `hasChanged` is true if its weight must change now. */
  check(wall: string, atMs: number, cpuMs: number): Rank & { readonly hasChanged: boolean } {
    const last = this.#runners.get(wall)
    if (last && atMs - last.atMs < LOOK_MS_MIN) return { ...last, hasChanged: false }
    const now = last ? nextLook(last, atMs, cpuMs) : firstLook(atMs, cpuMs)
    this.#runners.set(wall, now)
    return { ...now, hasChanged: last !== undefined && now.isBehind !== last.isBehind }
  }

  /** Counts a wall as long-running from its start. */
  begin(wall: string, atMs: number, cpuMs: number): void {
    this.#runners.set(wall, { ...firstLook(atMs, cpuMs), isLong: true, isBehind: true })
  }

  /** Resets a wall for its next job. */
  forget(wall: string): void {
    this.#runners.delete(wall)
  }

  /** Removes all walls but these. */
  keep(walls: ReadonlySet<string>): void {
    for (const wall of this.#runners.keys()) if (!walls.has(wall)) this.#runners.delete(wall)
  }
}

function firstLook(atMs: number, cpuMs: number): Runner {
  const since = { atMs, cpuMs }
  return { isLong: false, isBehind: false, atMs, cpuMs, awakeFrom: cpuMs, since }
}

function nextLook(last: Runner, atMs: number, cpuMs: number): Runner {
  const { isLong, isBehind, since } = last
  const cores = (cpuMs - last.cpuMs) / (atMs - last.atMs)
  const here = { atMs, cpuMs }
  const quietMs = atMs - since.atMs
  const isQuiet = cpuMs - since.cpuMs < QUIET_BELOW * quietMs
  if (!isLong) {
    const hasPaused = isQuiet && quietMs >= PAUSE_MS
    const awakeFrom = hasPaused ? cpuMs : last.awakeFrom
    const isLongNow = cpuMs - awakeFrom >= LONG_MS
    const begins = hasPaused || cores >= QUIET_BELOW
    return {
      ...here,
      isLong: isLongNow,
      isBehind: isLongNow,
      awakeFrom,
      since: begins ? here : since,
    }
  }
  if (isBehind) {
    const isDue = quietMs >= PAUSE_MS
    return { ...last, ...here, isBehind: !(isDue && isQuiet), since: isDue ? here : since }
  }
  // Quarter of a second with the usual weight: a wall that starved uses it.
  if (quietMs < FORWARD_MS) return { ...last, ...here }
  if (isQuiet) return { ...here, isLong: false, isBehind: false, awakeFrom: cpuMs, since: here }
  return { ...last, ...here, isBehind: true, since: here }
}

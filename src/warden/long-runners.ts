/**
 * Walls that have computed for long, which step back behind the others: a multi-level feedback queue of two levels.
 *
 * Problem: a job that takes 5 ms must not wait until programs that compute for minutes had their turns, and nobody knows
 * ahead how long a job will take.
 *
 * Mechanism: every job begins with the usual weight. Once its wall has used `LONG_MS` of processor time without a pause it has
 * a fiftieth of that: little more than the others leave. A wall that got next to nothing in a whole second starves or sleeps; it comes forward
 * for a quarter of a second, which ends starvation, and tells the two apart: if it slept then too, it has its weight again.
 * Bounds stay as they are: with nobody else there it loses nothing.
 *
 * Source: the feedback scheduler of CTSS (Corbató et al., 1962). Relies on control groups of the CPU; without them
 * the kernel shares the processor evenly. Not handled: a wall that pauses for a second each
 * time before it is long.
 */

/** Processor time in milliseconds, without a pause, after which a wall steps back. */
const LONG_MS = 500
/** Cores below which a wall sleeps, or starves. */
const QUIET_BELOW = 0.02
/** Milliseconds of that which are a pause, and for which a wall that had them behind the others comes forward. */
const PAUSE_MS = 1_000
const FORWARD_MS = 250
/** Shortest distance of two looks: the kernel counts processor time in ticks of up to 10 ms. */
const LOOK_MS_MIN = 100

export interface Rank {
  /** Whether it computes for long. */
  readonly isLong: boolean
  readonly isBehind: boolean
}

interface Runner extends Rank {
  readonly atMs: number
  readonly cpuMs: number
  /** Processor time at the end of its last pause. */
  readonly awakeFrom: number
  /** Beginning of the time over which is judged whether it got next to nothing. */
  readonly since: { readonly atMs: number; readonly cpuMs: number }
}

export class LongRunners {
  readonly #runners = new Map<string, Runner>()

  /** `hasChanged`: whether it is to step back or to come forward now. */
  look(wall: string, atMs: number, cpuMs: number): Rank & { readonly hasChanged: boolean } {
    const last = this.#runners.get(wall)
    if (last && atMs - last.atMs < LOOK_MS_MIN) return { ...last, hasChanged: false }
    const now = last ? nextLook(last, atMs, cpuMs) : firstLook(atMs, cpuMs)
    this.#runners.set(wall, now)
    return { ...now, hasChanged: last !== undefined && now.isBehind !== last.isBehind }
  }

  /** Begins anew, with the next job of a wall. */
  forget(wall: string): void {
    this.#runners.delete(wall)
  }

  /** Forgets all walls but these. */
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
  // Turn forward: a wall that starved uses it.
  if (quietMs < FORWARD_MS) return { ...last, ...here }
  if (isQuiet) return { ...here, isLong: false, isBehind: false, awakeFrom: cpuMs, since: here }
  return { ...last, ...here, isBehind: true, since: here }
}

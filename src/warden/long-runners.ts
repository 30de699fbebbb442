/**
 * Walls that have computed for long, which step back behind the others: a multi-level feedback queue of two levels.
 *
 * Problem: a job that takes 5 ms must not wait until programs that compute for minutes had their turns, and nobody knows
 * ahead how long a job will take.
 *
 * Mechanism: every wall begins with the usual weight. Once it has used `LONG_MS` without a pause it is idle-class, for as
 * long as it goes on: it has what the others leave. Asleep for a second it has its weight again; for less, it may only have
 * waited for the processor. One that got next to nothing for a second comes forward for a quarter of one, so that nobody
 * starves. Bounds stay as they are: with nobody else there it loses nothing.
 *
 * Source: the feedback scheduler of CTSS (Corbató et al., 1962). Relies on control groups of the CPU, and on `cpu.idle` in
 * them (Linux 5.15); without them the kernel shares the processor evenly. Not handled: a wall that pauses for a second each
 * time before it is long.
 */

/** Processor time in milliseconds, without a pause, after which a wall steps back. */
const LONG_MS = 500
/** Cores below which a wall slept between two looks, and milliseconds of that which are a pause. */
const ASLEEP_BELOW = 0.005
const PAUSE_MS = 1_000
/** Cores below which a wall that stepped back starves, over so many milliseconds, and how long it comes forward then. */
const STARVED_BELOW = 0.02
const STARVED_MS = 1_000
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
  /** When it was last seen to run. */
  readonly ranAt: number
  /** Beginning of the time over which is judged whether it starves. */
  readonly fed: { readonly atMs: number; readonly cpuMs: number }
  readonly forwardUntil: number
}

export class LongRunners {
  readonly #runners = new Map<string, Runner>()

  /** `hasChanged`: whether it is to step back or to come forward now. */
  look(wall: string, atMs: number, cpuMs: number): Rank & { readonly hasChanged: boolean } {
    const last = this.#runners.get(wall) ?? firstLook(atMs, cpuMs)
    if (last.atMs !== atMs && atMs - last.atMs < LOOK_MS_MIN) return { ...last, hasChanged: false }
    const now = nextLook(last, atMs, cpuMs)
    this.#runners.set(wall, now)
    return { ...now, hasChanged: now.isBehind !== last.isBehind }
  }

  /** Forgets all walls but these. */
  keep(walls: ReadonlySet<string>): void {
    for (const wall of this.#runners.keys()) if (!walls.has(wall)) this.#runners.delete(wall)
  }
}

function firstLook(atMs: number, cpuMs: number): Runner {
  const fed = { atMs, cpuMs }
  const rank = { isLong: false, isBehind: false }
  return { ...rank, atMs, cpuMs, awakeFrom: cpuMs, ranAt: atMs, fed, forwardUntil: 0 }
}

function nextLook(last: Runner, atMs: number, cpuMs: number): Runner {
  const hasRun = cpuMs - last.cpuMs >= ASLEEP_BELOW * (atMs - last.atMs)
  const ranAt = hasRun ? atMs : last.ranAt
  const awakeFrom = atMs - ranAt >= PAUSE_MS ? cpuMs : last.awakeFrom
  const isLong = cpuMs - awakeFrom >= LONG_MS
  const { fed } = last
  const isDue = !last.isBehind || atMs - fed.atMs >= STARVED_MS
  const isStarved = last.isBehind && isDue && cpuMs - fed.cpuMs < STARVED_BELOW * (atMs - fed.atMs)
  const forwardUntil = isStarved ? atMs + FORWARD_MS : last.forwardUntil
  return {
    isLong,
    isBehind: isLong && atMs >= forwardUntil,
    atMs,
    cpuMs,
    awakeFrom,
    ranAt,
    fed: isDue ? { atMs, cpuMs } : fed,
    forwardUntil,
  }
}

/**
 * Which walls want the processor, and what their memory counts for, from two looks at what they have used. Pure.
 *
 * A wall that sleeps uses nothing; one that is busy uses what it gets, which on a machine with more busy walls than cores
 * is less than it wants. So a low use is taken for a wish to run where all of them together use the machine up.
 */
export interface WallLoad {
  readonly wall: string
  /** Resident bytes, what it was before its job included. */
  readonly bytes: number
  /** Processor time since it was started. */
  readonly cpuMs: number
}

/** All walls at one moment, by the warden's clock. */
export interface Loads {
  readonly atMs: number
  readonly walls: readonly WallLoad[]
}

export interface WallDemand {
  readonly isBusy: boolean
  /** What it holds, and what it may come to hold before the next look but one. */
  readonly memory: number
}

/** Cores that a wall uses which is not asleep; on a machine that is used up, any use to speak of. */
const BUSY_CORES = 0.05
const BUSY_CORES_WHEN_FULL = 0.005
const FULL_SHARE = 0.85
/** Of what it holds, and in bytes: room to grow in until it is looked at again. */
const MARGIN_FACTOR = 1.25
const MARGIN_BYTES = 16 * 2 ** 20
/** Looks closer to each other say little: processor time is counted in ticks of up to 10 ms. */
export const betweenLooksMs = 40

/** Of the walls that both looks saw. */
export function demandOf(
  before: Loads,
  now: Loads,
  cores: number,
): ReadonlyMap<string, WallDemand> {
  const elapsed = now.atMs - before.atMs
  if (elapsed < betweenLooksMs) return new Map()
  const usedBefore = new Map(before.walls.map(({ wall, cpuMs }) => [wall, cpuMs]))
  const used = now.walls.flatMap(({ wall, bytes, cpuMs }) => {
    const earlier = usedBefore.get(wall)
    return earlier === undefined ? [] : [{ wall, bytes, cores: (cpuMs - earlier) / elapsed }]
  })
  const all = used.reduce((sum, one) => sum + one.cores, 0)
  const least = all >= cores * FULL_SHARE ? BUSY_CORES_WHEN_FULL : BUSY_CORES
  return new Map(
    used.map((one) => [
      one.wall,
      {
        isBusy: one.cores >= least,
        memory: Math.round(one.bytes * MARGIN_FACTOR + MARGIN_BYTES),
      },
    ]),
  )
}

import type { WallLoads } from '../contract/warden.ts'

/**
 * Estimates CPU demand and memory of walls from two samples, by the warden's clock. Pure.
 *
 * On an overloaded machine a busy wall gets less CPU than it wants. So once total use nears capacity, a much smaller
 * use counts as busy. A long-running wall always counts as busy: if it used no CPU, it waited for the CPU.
 */
export interface WallDemand {
  readonly isBusy: boolean
  /** Resident bytes plus growth margin until the next sample but one. */
  readonly memory: number
}

/** Cores above which a wall counts as busy, normally and on a saturated machine. */
const BUSY_CORES = 0.05
const BUSY_CORES_WHEN_FULL = 0.005
const FULL_SHARE = 0.85
/** Growth margin until the next sample, relative and absolute. */
const MARGIN_FACTOR = 1.25
const MARGIN_BYTES = 16 * 2 ** 20
/** Minimum distance of samples: CPU time advances in ticks of up to 10 ms. */
export const sampleGapMsMin = 40

/** Demand of the walls present in both samples. */
export function demandOf(
  before: WallLoads,
  now: WallLoads,
  cores: number,
): ReadonlyMap<string, WallDemand> {
  const elapsed = now.atMs - before.atMs
  if (elapsed < sampleGapMsMin) return new Map()
  const usedBefore = new Map(before.walls.map(({ wall, cpuMs }) => [wall, cpuMs]))
  const used = now.walls.flatMap(({ wall, bytes, cpuMs, isLong = false }) => {
    const earlier = usedBefore.get(wall)
    if (earlier === undefined) return []
    return [{ wall, bytes, isLong, cores: (cpuMs - earlier) / elapsed }]
  })
  const all = used.reduce((sum, one) => sum + one.cores, 0)
  const least = all >= cores * FULL_SHARE ? BUSY_CORES_WHEN_FULL : BUSY_CORES
  return new Map(
    used.map((one) => [
      one.wall,
      {
        isBusy: one.isLong || one.cores >= least,
        memory: Math.round(one.bytes * MARGIN_FACTOR + MARGIN_BYTES),
      },
    ]),
  )
}

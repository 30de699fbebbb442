import type { WallLoads } from '../contract/warden.ts'
import type { MeasuredUse } from './admission.ts'

/** Cores above which a wall counts as busy, normally and on a saturated machine. */
const BUSY_CORES = 0.05
const BUSY_CORES_WHEN_FULL = 0.005
const FULL_SHARE = 0.85
/** Growth margin until the next sample, relative and absolute. */
const MARGIN_FACTOR = 1.25
const MARGIN_BYTES = 16 * 2 ** 20
/** Minimum distance of samples: CPU time advances in ticks of up to 10 ms. */
export const sampleGapMsMin = 40

/**
 * Estimates CPU demand of the walls that are in both samples, by the warden's clock, and their memory until the next
 * sample but one. Pure.
 *
 * On an overloaded machine a busy wall gets less CPU than it wants. So once total use nears capacity, a much smaller
 * use counts as busy. A long-running wall always counts as busy: if it used no CPU, it waited for the CPU.
 */
export function demandOf(
  before: WallLoads,
  now: WallLoads,
  cores: number,
): ReadonlyMap<string, MeasuredUse> {
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
  const demand = used.map(({ wall, bytes, isLong, cores }) => {
    const memory = Math.round(bytes * MARGIN_FACTOR + MARGIN_BYTES)
    return [wall, { isBusy: isLong || cores >= least, memory }] as const
  })
  return new Map(demand)
}

import { readText } from '../os/read.ts'
import type { Held } from './hold.ts'

/**
 * Ends a wall before the machine is out of memory. Admission counts jobs by what they use, so the ceilings of all that
 * runs may come to more than there is; jobs that slept and then all allocate reach that within seconds. The kernel's OOM
 * killer would find walls too (`oom_score_adj`), but only once everything else on the machine has stalled.
 *
 * It is looked at with every look of the holder, each 2 to 10 ms. The reserve below is what all cores together can
 * allocate until the wall that was ended has given its pages back.
 */
export interface PressureOptions {
  /** Bytes that all walls together may hold: the machine's, or the container's. */
  readonly memory: number
  /** Whether that is less than the machine has: then the machine says nothing of what is left. */
  readonly isBound: boolean
  readonly availableBytes?: () => number
}

/** Of all memory: what has to stay free, and what walls may hold of a bound that is not the machine's. */
const RESERVE_SHARE = 0.08
const RESERVE_BYTES_MAX = 4 * 2 ** 30
const SHARE_OF_BOUND = 0.85
/** Walls that hold less are not what the machine is short of. */
const ASKED_FROM_SHARE = 0.1
/** What was ended needs this long until its pages are free. */
const FREED_MS = 150

export function createPressure({
  memory,
  isBound,
  availableBytes = available,
}: PressureOptions): (active: Iterable<Held>, now: number) => Held | undefined {
  const reserve = Math.min(memory * RESERVE_SHARE, RESERVE_BYTES_MAX)
  let nextAt = 0
  return (active, now) => {
    if (now < nextAt) return undefined
    const all = [...active]
    const held = all.reduce((sum, { bytes = 0 }) => sum + bytes, 0)
    if (held < memory * ASKED_FROM_SHARE) return undefined
    const isShort = isBound ? held > memory * SHARE_OF_BOUND : availableBytes() < reserve
    if (!isShort) return undefined
    nextAt = now + FREED_MS
    return victimOf(all)
  }
}

/** Of the tenant that holds most, the wall that holds most beside what it was made of. */
function victimOf(all: readonly Held[]): Held | undefined {
  const byTenant = Map.groupBy(all, ({ tenant }) => tenant ?? '')
  const sumOf = (walls: readonly Held[]) => walls.reduce((sum, one) => sum + beyondIdle(one), 0)
  const [most] = [...byTenant.values()].sort((a, b) => sumOf(b) - sumOf(a))
  return most?.toSorted((a, b) => beyondIdle(b) - beyondIdle(a))[0]
}

function beyondIdle({ bytes = 0, idleBytes = 0 }: Held): number {
  return Math.max(0, bytes - idleBytes)
}

/** Bytes that the kernel could give without swapping; all of them where it does not say. */
function available(): number {
  try {
    const kb = /^MemAvailable:\s+(\d+) kB/m.exec(readText('/proc/meminfo'))?.[1]
    return kb ? Number(kb) * 1024 : Infinity
  } catch {
    return Infinity
  }
}

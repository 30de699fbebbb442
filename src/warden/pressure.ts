import { tryReadText } from '../os/read.ts'

/**
 * Ends walls before the machine is out of memory. Admission counts jobs by measured use, so memory is overcommitted: jobs
 * that slept and then all allocate exceed it within seconds. The kernel's OOM killer would pick walls too
 * (`oom_score_adj`), but only after everything else on the machine has stalled.
 *
 * The sampler calls it at every sample, each 2 to 10 ms. A hundred walls can allocate at once, so one call ends enough of
 * them to free twice the reserve: the second half covers allocations of the others until those pages are free.
 */
export interface PressureOptions {
  /** Memory in bytes of the machine, or of its container. */
  readonly memory: number
  /** True if a container limits it: then MemAvailable of the machine is not the free memory. */
  readonly isBound: boolean
  readonly availableBytes?: () => number
}

/** Shares of memory: reserve on a machine, and maximum of all walls under a container's limit. */
const RESERVE_SHARE = 0.08
const RESERVE_BYTES_MAX = 4 * 2 ** 30
const SHARE_OF_BOUND = 0.85
/** If walls hold less than this share, they are not the cause of the shortage. */
const ASKED_FROM_SHARE = 0.1
/** Time until the pages of a killed wall are freed; they count as free before that. */
const FREED_MS = 150
/** Walls with less memory beyond their idle size are not ended: they would free too little. */
const WORTH_BYTES_MIN = 2 ** 20

/** Memory of a wall that has a job, by its last sample. */
export interface MemoryUse {
  readonly bytes?: number
  /** Bytes before its job. */
  readonly idleBytes?: number
  readonly tenant?: string | undefined
}

export type Pressure = <Use extends MemoryUse>(active: Iterable<Use>, now: number) => readonly Use[]

/** Returns the walls to end now: as many as free twice the reserve. */
export function createPressure({
  memory,
  isBound,
  availableBytes = available,
}: PressureOptions): Pressure {
  const share = memory * RESERVE_SHARE
  const reserve = isBound ? share : Math.min(share, RESERVE_BYTES_MAX)
  let freeing = 0
  let freedAt = 0

  /** Free memory, including that of killed walls. These are not active any more, so under a container's limit it is free at once. */
  function freeWith(held: number): number {
    return isBound ? memory * SHARE_OF_BOUND + reserve - held : availableBytes() + freeing
  }

  return (active, now) => {
    const all = [...active]
    const held = all.reduce((sum, { bytes = 0 }) => sum + bytes, 0)
    if (held < memory * ASKED_FROM_SHARE) return []
    if (now >= freedAt) freeing = 0
    const free = freeWith(held)
    if (free >= reserve) return []
    const victims = victimsOf(all, 2 * reserve - free, freeing === 0)
    if (victims.length === 0) return []
    freedAt = now + FREED_MS
    freeing += victims.reduce((sum, one) => sum + freedBy(one), 0)
    return victims
  }
}

/** Walls that free `need` bytes together; with `isFirst` at least one, even if each was small at its last sample. */
function victimsOf<Use extends MemoryUse>(
  all: readonly Use[],
  need: number,
  isFirst: boolean,
): readonly Use[] {
  const left = new Set(all)
  const victims: Use[] = []
  for (let missing = need; missing > 0;) {
    const victim = victimOf(left)
    if (!victim) break
    const isWorth = beyondIdle(victim) >= WORTH_BYTES_MIN
    if (!isWorth && (!isFirst || victims.length > 0)) break
    victims.push(victim)
    left.delete(victim)
    missing -= freedBy(victim)
  }
  return victims
}

/** Picks the tenant with most memory, and of its walls the one furthest above its idle size. */
function victimOf<Use extends MemoryUse>(all: Iterable<Use>): Use | undefined {
  const byTenant = Map.groupBy(all, ({ tenant }) => tenant ?? '')
  const sumOf = (walls: readonly MemoryUse[]) =>
    walls.reduce((sum, one) => sum + beyondIdle(one), 0)
  const most = largest([...byTenant.values()], sumOf)
  return most && largest(most, beyondIdle)
}

function largest<T>(all: readonly T[], sizeOf: (one: T) => number): T | undefined {
  let best: { readonly one: T; readonly size: number } | undefined
  for (const one of all) {
    const size = sizeOf(one)
    if (!best || size > best.size) best = { one, size }
  }
  return best?.one
}

/** Bytes that killing a wall frees; never 0, so that each victim counts. */
function freedBy(wall: MemoryUse): number {
  return Math.max(beyondIdle(wall), WORTH_BYTES_MIN)
}

function beyondIdle({ bytes = 0, idleBytes = 0 }: MemoryUse): number {
  return Math.max(0, bytes - idleBytes)
}

/** MemAvailable in bytes; Infinity if the kernel does not report it. */
function available(): number {
  const kb = /^MemAvailable:\s+(\d+) kB/m.exec(tryReadText('/proc/meminfo') ?? '')?.[1]
  return kb ? Number(kb) * 1024 : Infinity
}

import type { MemorySample } from '../../../contract/engine.ts'
import { killsAtLimit } from '../../../os/cgroup-interface.ts'
import { processBytes } from '../../../os/proc.ts'
import { createCpuThrottle } from '../cpu-throttle.ts'
import type { ProgramZones } from './program-zones.ts'
import { keepStopped } from './keep-stopped.ts'
import { signalAll } from '../../../os/signal.ts'
import { ofGroup, ofProcesses } from './cpu-time.ts'
import { guestsIn, processesOfWall } from './members.ts'
import type { WallResources } from './resources.ts'
import { ScratchWatch } from './scratch-watch.ts'
import { threadMs } from '../../../lib/thread-ms.ts'
import {
  bytesOf,
  ownBytesOf,
  proportionalSharedBytesOf,
  sharedBytesOf,
} from '../../../os/process-tree.ts'

/**
 * Memory and CPU time of a wall of processes, sampled from outside.
 *
 * Problem: a cgroup may be missing, and one that is there counts scratch (tmpfs), which is granted as disk. A sample that reads
 * /proc of each process costs milliseconds, and there may be hundreds of walls.
 *
 * Mechanism: a sample reads the counters of the cgroup, or /proc; page tables are read only for a sum above the limit. The pause
 * after a sample grows with its cost, and with the time in which the memory stays the same, up to 80 ms with a cgroup, 16 without;
 * all sleeping walls together have a budget. A wall without a CFS quota that overdraws its CPU time is stopped (SIGSTOP).
 *
 * Relies on /proc of the host. Not handled: allocations between two samples of a wall without a cgroup.
 */
/** Takes a sample; `nowMs` is monotonic. Throws if the wall cannot be read. */
export type MemoryWatch = (nowMs: number) => MemorySample

/** Shared memory in bytes from which /proc of each process is read. */
const SHARED_FROM = 4 * 2 ** 20
/** A sample is followed by a pause of ten times its own CPU time, however many processes there are. */
const COST_FACTOR = 10
/**
 * Longest interval between samples of a sleeping wall: a hundred of them, each sampled every 10 ms, took all of the
 * warden's CPU time. With a cgroup the kernel enforces the limit between samples.
 */
const QUIET_MS_MAX = { held: 80, watched: 16 } as const
const QUIET_BYTES = 64 * 2 ** 10
/** All samples of sleeping walls together take at most 1/40 of a core. */
const QUIET_COST_FACTOR = 40
/** Factor for samples of CPU time alone, which cost a quarter and are taken at the same rate. */
const IDLE_COST_FACTOR = 160
/**
 * Samples of a sleeping wall's CPU time between two of its memory. While that stays the same no task ran, so none
 * allocated, and there was no OOM kill: a dying process runs. The kernel charges a running task at each tick, 10 ms at
 * most.
 */
const IDLE_CHECKS_MAX = 8
const QUIET_TURN_MS_MAX = 1000
/** Time of the next sample of a sleeping wall; shared by all watches of this warden. */
let quietTurnAt = 0

/**
 * Samples the memory of a process tree, and throttles its CPU time if `cores` is set: a limit that no cgroup enforces.
 */
export function watchTree(
  resources: WallResources,
  to: {
    /** Bytes of the wall before its job. */
    readonly idleBytes: number
    readonly residentMax: number
    readonly cores: number | undefined
    /** OOM kills before the job. */
    readonly kills: number
    readonly zones: ProgramZones | undefined
    /** Bytes of scratch, if that is on the host's disk. */
    readonly disk?: number | undefined
  },
  workedMs: () => number = threadMs,
): MemoryWatch {
  const throttle = throttleOf(resources, to)
  const bytesNow = memoryOf(resources, to)
  const bytesMax = to.residentMax
  const { scratch, slot } = resources
  const disk =
    scratch !== undefined && to.disk !== undefined
      ? new ScratchWatch(scratch, to.disk, slot?.uid)
      : undefined
  let seen: MemorySample = { bytes: 0, bytesMax, isOutOfMemory: false }
  let nextAt = 0
  let quietMs = 0
  let spentMs: number | undefined
  let idleChecks = 0
  const quietMsMax = resources.cgroup ? QUIET_MS_MAX.held : QUIET_MS_MAX.watched
  const mayRest = () =>
    to.cores === undefined && to.zones === undefined && !resources.isFrozen && !disk?.isWalking
  function look(now: number): void {
    let known: readonly number[] | undefined
    const pids = () => (known ??= processesOfWall(resources))
    throttle(pids, now)
    const { bytes } = seen
    seen = {
      bytes: bytesNow(pids),
      bytesMax,
      isOutOfMemory: killsAtLimit(resources.cgroup) > to.kills,
      ...(disk?.check(pids(), now) && { hasTooMuchDisk: true }),
    }
    const isQuiet = mayRest() && Math.abs(seen.bytes - bytes) < QUIET_BYTES
    quietMs = isQuiet ? Math.min(quietMsMax, quietMs * 2 + 1) : 0
  }
  return (now) => {
    if (now < nextAt) return seen
    const before = workedMs()
    // Read before the memory: CPU time spent after this read makes the next sample read the memory again.
    const spentBefore = spentMs
    spentMs = quietMs === quietMsMax && mayRest() ? ofGroup(resources) : undefined
    const isIdle = spentMs !== undefined && spentMs === spentBefore
    idleChecks = isIdle ? (idleChecks + 1) % IDLE_CHECKS_MAX : 0
    if (idleChecks === 0) look(now)
    const costMs = workedMs() - before
    nextAt = now + Math.max(quietMs, costMs * COST_FACTOR)
    if (resources.cgroup && quietMs === quietMsMax)
      nextAt = Math.max(
        nextAt,
        quietTurn(now, costMs * (idleChecks > 0 ? IDLE_COST_FACTOR : QUIET_COST_FACTOR)),
      )
    return seen
  }
}

/** Reserves the time of a wall's next sample: the more walls sleep, the less often each is sampled. */
function quietTurn(now: number, turnMs: number): number {
  const from = Math.min(Math.max(quietTurnAt, now), now + QUIET_TURN_MS_MAX)
  return (quietTurnAt = from + turnMs)
}

/** Samples a worker: a single process, by its resident memory. */
export function watchWorker(pid: number, bytesMax: number): MemoryWatch {
  return () => ({ bytes: processBytes(pid), bytesMax, isOutOfMemory: false })
}

/**
 * Memory of all processes. A cgroup counts copy-on-write pages once. Without one each process is read, and pages that
 * processes share count once for each; a sum above the limit is counted again without files, whose pages the kernel drops
 * when it needs them.
 */
function memoryOf(
  resources: WallResources,
  { idleBytes, residentMax }: { readonly idleBytes: number; readonly residentMax: number },
): (pids: () => readonly number[]) => number {
  const { cgroup, isWhole, idleMemory } = resources
  if (cgroup && isWhole)
    return (pids) => {
      const { own, shared } = cgroup.ownMemory()
      const base = idleBytes + Math.max(0, own - idleMemory)
      // Scratch (tmpfs) is granted as `disk`: of shared memory only the mapped part counts.
      const mapped = shared > SHARED_FROM ? Math.min(shared, sharedBytesOf(pids())) : 0
      // The costly walk over page tables is done only for sums that would end the wall.
      const isOver = mapped > 0 && base + mapped > residentMax
      return base + (isOver ? Math.min(mapped, proportionalSharedBytesOf(pids())) : mapped)
    }
  return (pids) => {
    const bytes = pids().reduce((sum, pid) => sum + processBytes(pid), 0)
    if (bytes <= residentMax) return bytes
    return isWhole ? idleBytes + Math.max(0, ownBytesOf(pids()) - idleMemory) : bytesOf(pids())
  }
}

/** Stops a wall, or one of its zones, that has overdrawn its CPU time. */
function throttleOf(
  resources: WallResources,
  {
    cores,
    zones,
  }: { readonly cores: number | undefined; readonly zones: ProgramZones | undefined },
) {
  const used = cores === undefined ? 0 : ofProcesses(resources, processesOfWall(resources))
  const throttle =
    cores === undefined ? undefined : createCpuThrottle(cores, performance.now(), used)
  // An earlier watch may have stopped them.
  let stopped: readonly number[] = throttle ? guestsIn(resources, processesOfWall(resources)) : []
  return (look: () => readonly number[], now: number): void => {
    if (!throttle && !zones && !resources.isFrozen) return
    const pids = look()
    const inZones = zones?.check(pids, now)
    if (resources.isFrozen && !keepStopped(resources, guestsIn(resources, pids), now))
      throw new Error('it ran while it was frozen')
    if (resources.isFrozen || (!throttle && !inZones)) return
    const runs = throttle?.check(now, ofProcesses(resources, pids)) ?? true
    const guests = guestsIn(resources, pids)
    // Stopped again at each sample: a fork in flight is found by the next one.
    const toStop = runs ? guests.filter((pid) => inZones?.has(pid)) : guests
    signalAll(toStop, 'SIGSTOP')
    const isNarrower = stopped.some((pid) => !toStop.includes(pid))
    if (isNarrower)
      signalAll(
        guests.filter((pid) => !toStop.includes(pid)),
        'SIGCONT',
      )
    stopped = toStop
  }
}

import { residentBytes } from '../os/proc.ts'
import { createDuty } from './duty.ts'
import type { ProgramZones } from './program-zones.ts'
import { keepStill } from './still.ts'
import { guestsIn, processesOfWall, signalAll, type Taken } from './taken.ts'
import { threadMs } from '../lib/thread-ms.ts'
import { bytesOf, cpuMsOf, mostShared } from './tree.ts'

/** What a look at a wall of many processes found. */
export interface Seen {
  readonly bytes: number
  /** The kernel ended one of its processes for its memory: the others go too. */
  readonly isBeyond: boolean
}

/** By the monotonic clock. */
export type Watch = (nowMs: number) => Seen

/** Less than this is not worth a look at each process. */
const SHARED_FROM = 4 * 2 ** 20
/** A look may take a tenth of a core at most, however many processes there are. */
const COST_FACTOR = 10
/**
 * A wall that sleeps is looked at less and less often, up to these milliseconds: a hundred of them, each looked at every
 * 10 ms, took all of the warden's time. With a control group the kernel holds its memory meanwhile.
 */
const QUIET_MS_MAX = { held: 80, watched: 16 } as const
const QUIET_BYTES = 64 * 2 ** 10

/**
 * Looks at a wall's whole tree: at its memory always, at its processor time where `cores` names a bound that no
 * control group holds.
 */
export function watchTree(
  taken: Taken,
  to: {
    /** Bytes of the wall before its job. */
    readonly idleBytes: number
    readonly residentMax: number
    readonly cores: number | undefined
    /** How many the kernel had ended before. */
    readonly kills: number
    readonly zones: ProgramZones | undefined
  },
  workedMs: () => number = threadMs,
): Watch {
  const throttle = throttleOf(taken, to)
  const bytesNow = memoryOf(taken, to)
  let seen: Seen = { bytes: 0, isBeyond: false }
  let nextAt = 0
  let quietMs = 0
  const quietMsMax = taken.cgroup ? QUIET_MS_MAX.held : QUIET_MS_MAX.watched
  const mayRest = () => to.cores === undefined && to.zones === undefined && !taken.isFrozen
  return (now) => {
    if (now < nextAt) return seen
    const before = workedMs()
    let known: readonly number[] | undefined
    const pids = () => (known ??= processesOfWall(taken))
    throttle(pids, now)
    const { bytes } = seen
    seen = {
      bytes: bytesNow(pids),
      isBeyond: (taken.cgroup?.memoryKills() ?? 0) > to.kills,
    }
    const isQuiet = mayRest() && Math.abs(seen.bytes - bytes) < QUIET_BYTES
    quietMs = isQuiet ? Math.min(quietMsMax, quietMs * 2 + 1) : 0
    nextAt = now + Math.max(quietMs, (workedMs() - before) * COST_FACTOR)
    return seen
  }
}

/**
 * A group counts for all of them at once, and what children share with whoever made them one time. Where there is none
 * each process is looked at: those that share memory count it once each, so whatever seems too much is counted again
 * with more care.
 */
function memoryOf(
  taken: Taken,
  { idleBytes, residentMax }: { readonly idleBytes: number; readonly residentMax: number },
): (pids: () => readonly number[]) => number {
  const { cgroup, isWhole, idleMemory } = taken
  if (cgroup && isWhole)
    return (pids) => {
      const { own, shared } = cgroup.ownMemory()
      // Scratch is granted by another name: of what is shared counts what one of them has mapped.
      const mapped = shared > SHARED_FROM ? mostShared(pids()) : 0
      return idleBytes + Math.max(0, own - idleMemory) + mapped
    }
  return (pids) => {
    const bytes = pids().reduce((sum, pid) => sum + residentBytes(pid), 0)
    return bytes > residentMax ? bytesOf(pids()) : bytes
  }
}

/** Who has used its share stands still: all of it, or what is in a zone. */
function throttleOf(
  taken: Taken,
  {
    cores,
    zones,
  }: { readonly cores: number | undefined; readonly zones: ProgramZones | undefined },
) {
  const used = cores === undefined ? 0 : cpuMsOf(processesOfWall(taken))
  const duty = cores === undefined ? undefined : createDuty(cores, performance.now(), used)
  // A claim before this one may have left them stopped.
  let stopped: readonly number[] = duty ? guestsIn(taken, processesOfWall(taken)) : []
  return (look: () => readonly number[], now: number): void => {
    if (!duty && !zones && !taken.isFrozen) return
    const pids = look()
    const inZones = zones?.look(pids, now)
    if (taken.isFrozen && !keepStill(taken, guestsIn(taken, pids), now))
      throw new Error('it went on while it was frozen')
    if (taken.isFrozen || (!duty && !inZones)) return
    const runs = duty?.look(now, cpuMsOf(pids)) ?? true
    const guests = guestsIn(taken, pids)
    // Each time again while it is stopped: what was just being made is found by the next look.
    const still = runs ? guests.filter((pid) => inZones?.has(pid)) : guests
    signalAll(still, 'SIGSTOP')
    const isLess = stopped.some((pid) => !still.includes(pid))
    if (isLess)
      signalAll(
        guests.filter((pid) => !still.includes(pid)),
        'SIGCONT',
      )
    stopped = still
  }
}

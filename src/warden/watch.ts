import { residentBytes } from '../os/proc.ts'
import { createDuty } from './duty.ts'
import { guestsIn, processesOfWall, signalAll, type Taken } from './taken.ts'
import { bytesOf, cpuMsOf } from './tree.ts'

/** What a look at a wall of many processes found. */
export interface Seen {
  readonly bytes: number
  /** The kernel ended one of its processes for its memory: the others go too. */
  readonly isBeyond: boolean
}

/** By the monotonic clock. */
export type Watch = (nowMs: number) => Seen

/** A look may take a tenth of a core at most, however many processes there are. */
const COST_FACTOR = 10

/**
 * Looks at a wall's whole tree: at its memory always, at its processor time where `cores` names a bound that no
 * control group holds. Processes that share memory count it once each, so whatever seems too much is counted again
 * with more care.
 */
export function watchTree(
  taken: Taken,
  to: {
    readonly residentMax: number
    readonly cores: number | undefined
    /** How many the kernel had ended before. */
    readonly kills: number
  },
): Watch {
  const throttle = to.cores === undefined ? undefined : throttleOf(taken, to.cores)
  let seen: Seen = { bytes: 0, isBeyond: false }
  let nextAt = 0
  return (now) => {
    if (now < nextAt) return seen
    const began = performance.now()
    const pids = processesOfWall(taken)
    throttle?.(pids, now)
    const bytes = pids.reduce((sum, pid) => sum + residentBytes(pid), 0)
    seen = {
      bytes: bytes > to.residentMax ? bytesOf(pids) : bytes,
      isBeyond: (taken.cgroup?.memoryKills() ?? 0) > to.kills,
    }
    nextAt = now + (performance.now() - began) * COST_FACTOR
    return seen
  }
}

function throttleOf(taken: Taken, cores: number) {
  const used = cpuMsOf(processesOfWall(taken))
  const duty = createDuty(cores, performance.now(), used)
  // A claim before this one may have left them stopped.
  let isRunning = false
  return (pids: readonly number[], now: number): void => {
    if (taken.isFrozen) return
    const runs = duty.look(now, cpuMsOf(pids))
    // Each time again while it is stopped: what was just being made is found by the next look.
    if (!runs) signalAll(guestsIn(taken, pids), 'SIGSTOP')
    else if (!isRunning) signalAll(guestsIn(taken, pids), 'SIGCONT')
    isRunning = runs
  }
}

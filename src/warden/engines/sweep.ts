import type { DeadEnclosure, Remains } from '../../contract/engine.ts'
import { doze } from '../../lib/doze.ts'
import { openCgroups } from '../../os/cgroup.ts'
import { livingOf, type ProcessIdentity } from '../../os/proc.ts'
import { processesMarked } from '../../os/marked.ts'
import { signalAll } from '../../os/signal.ts'
import { sweepWallFolder } from './wall-folder.ts'

/**
 * Kills orphans: the walls of dead wardens, by their leases; init reaps them. A lease names processes with their start
 * times, so a reused pid is never signalled, and a cgroup, whose members are killed too. Blocks the event loop: no wall is
 * served yet.
 */
const SWEEP_MS_MAX = 1500
const SWEEP_POLL_MS = 5

interface WallRemains {
  readonly processes: readonly ProcessIdentity[]
  readonly cgroup: string | null
  /** Mark of the processes of a wall with a keeper. */
  readonly mark?: number | undefined
}

/** Data of a lease. */
export function remainsOf(
  processes: readonly ProcessIdentity[],
  cgroup: string | null,
  mark?: number,
): Remains {
  const remains: WallRemains = { processes, cgroup, ...(mark !== undefined && { mark }) }
  return { ...remains }
}

export function sweepDead(dead: readonly DeadEnclosure[]): void {
  const here = dead.filter(({ isThisBoot }) => isThisBoot).map(({ remains }) => read(remains))
  for (const remains of here) killRemains(remains)
  const until = performance.now() + SWEEP_MS_MAX
  for (const remains of here)
    while (!isCleared(remains) && performance.now() < until) doze(SWEEP_POLL_MS)
  for (const { id } of dead) sweepWallFolder(id)
}

/** Parses the data of a lease; data of another shape names no process. */
function read({ processes, cgroup, mark }: Remains): WallRemains {
  return {
    processes: Array.isArray(processes) ? processes.filter(isIdentity) : [],
    cgroup: typeof cgroup === 'string' ? cgroup : null,
    mark: typeof mark === 'number' ? mark : undefined,
  }
}

function isIdentity(one: Partial<ProcessIdentity> | null): one is ProcessIdentity {
  return Number.isSafeInteger(one?.pid) && typeof one?.startTime === 'number'
}

function killRemains({ processes, cgroup, mark }: WallRemains): void {
  signalAll(livingOf(processes), 'SIGKILL')
  // The kernel kills a PID namespace with its init; a wall without one is killed by the members of its cgroup.
  if (cgroup) signalAll(openCgroups()?.processes(cgroup) ?? [], 'SIGKILL')
  if (mark !== undefined) signalAll(processesMarked(mark), 'SIGKILL')
}

/** Removes the cgroup once its processes are gone (EBUSY until then). */
function isCleared({ processes, cgroup, mark }: WallRemains): boolean {
  if (livingOf(processes).length > 0) return false
  if (mark !== undefined) {
    const left = processesMarked(mark)
    signalAll(left, 'SIGKILL')
    if (left.length > 0) return false
  }
  return !cgroup || (openCgroups()?.remove(cgroup) ?? true)
}

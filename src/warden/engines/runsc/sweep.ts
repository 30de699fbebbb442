import type { DeadEnclosure, Remains } from '../../../contract/engine.ts'
import { openCgroups } from '../../../os/cgroup.ts'
import { isAlive, type ProcessIdentity } from '../../../os/proc.ts'
import { signalAll } from '../../../os/signal.ts'
import { sweepFolder } from './place.ts'

/** Ends what dead wardens left, by their leases: the processes of runsc, the members of the cgroup, the folder. Blocks. */
const SWEEP_MS_MAX = 1500
const SWEEP_POLL_MS = 5
const doze = new Int32Array(new SharedArrayBuffer(4))

interface RunscRemains {
  /** `runsc run`, the sandbox and the gofer, once they are known. */
  readonly processes: readonly ProcessIdentity[]
  readonly cgroup: string | null
}

/** Data of a lease of this engine. */
export function remainsOf(processes: readonly ProcessIdentity[], cgroup: string | null): Remains {
  const remains: RunscRemains = { processes, cgroup }
  return { ...remains }
}

export function sweepDead(dead: readonly DeadEnclosure[]): void {
  const here = dead.filter(({ isThisBoot }) => isThisBoot).map(({ remains }) => read(remains))
  for (const remains of here) killRemains(remains)
  const until = performance.now() + SWEEP_MS_MAX
  for (const remains of here)
    while (!isCleared(remains) && performance.now() < until) Atomics.wait(doze, 0, 0, SWEEP_POLL_MS)
  for (const { id } of dead) sweepFolder(id)
}

/** Data of a lease, a file of this user; data of another shape names no process. */
function read({ processes, cgroup }: Remains): RunscRemains {
  return {
    processes: Array.isArray(processes) ? processes.filter(isIdentity) : [],
    cgroup: typeof cgroup === 'string' ? cgroup : null,
  }
}

function isIdentity(one: Partial<ProcessIdentity> | null): one is ProcessIdentity {
  return Number.isSafeInteger(one?.pid) && typeof one?.startTime === 'number'
}

function killRemains({ processes, cgroup }: RunscRemains): void {
  for (const { pid, startTime } of processes)
    if (isAlive(pid, startTime)) signalAll([pid], 'SIGKILL')
  if (cgroup) signalAll(openCgroups()?.processes(cgroup) ?? [], 'SIGKILL')
}

function isCleared({ processes, cgroup }: RunscRemains): boolean {
  if (processes.some(({ pid, startTime }) => isAlive(pid, startTime))) return false
  return !cgroup || (openCgroups()?.remove(cgroup) ?? true)
}

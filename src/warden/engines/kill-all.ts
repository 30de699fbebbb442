import type { Cgroup } from '../../os/cgroup-interface.ts'
import { livingOf, type ProcessIdentity } from '../../os/proc.ts'
import { belowOf } from '../../os/process-tree.ts'
import { signalAll, stopAndKill } from '../../os/signal.ts'

/** Kills processes of a wall, and all in its cgroup. */
export function killAll(processes: readonly ProcessIdentity[], cgroup: Cgroup | undefined): void {
  signalAll([...livingOf(processes), ...(cgroup?.processes() ?? [])], 'SIGKILL')
  // A killed task runs no further user instruction, but a task throttled by its CFS quota takes seconds to exit.
  cgroup?.liftCpuQuota()
}

/** Kills a running launcher, which may have a child that has no parent-death signal yet, with all below it. */
export function killLauncher(pid: number): void {
  stopAndKill(() => [pid, ...belowOf(pid)])
}

import type { Cgroup } from '../../os/cgroup-interface.ts'
import { livingOf, type ProcessIdentity } from '../../os/proc.ts'
import { signalAll } from '../../os/signal.ts'

/** Kills processes of a wall, and all in its cgroup. */
export function killAll(processes: readonly ProcessIdentity[], cgroup: Cgroup | undefined): void {
  signalAll([...livingOf(processes), ...(cgroup?.processes() ?? [])], 'SIGKILL')
  // A killed task runs no further user instruction, but a task throttled by its CFS quota takes seconds to exit.
  cgroup?.liftCpuQuota()
}

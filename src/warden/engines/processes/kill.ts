import { isAlive } from '../../../os/proc.ts'
import { signalAll } from '../../../os/signal.ts'
import { killLauncher } from '../kill-all.ts'
import { processesOfWall } from './members.ts'
import type { WallResources } from './resources.ts'

/** Time for the outermost process to reap its child before it is killed too. */
const REAP_MS_MAX = 200
/**
 * Time for a keeper to end all processes of its wall. After it the keeper is killed, and its processes are found by
 * their mark.
 */
const KEEPER_MS_MAX = 3_000

/** Kills the innermost process first, so that its parent reaps it and no zombie is left to PID 1. Idempotent. */
export function killWall(resources: WallResources): void {
  const { child, cgroup, isWhole, sentinel } = resources
  if (sentinel?.isKeeper) {
    sentinel.close()
    cgroup?.liftCpuQuota()
    return void setTimeout(() => child.kill('SIGKILL'), KEEPER_MS_MAX).unref()
  }
  const [inner, ...outer] = resources.processes
  if (inner && isAlive(inner.pid, inner.startTime)) {
    if (outer.length === 0) killLauncher(inner.pid)
    else signalAll([inner.pid, ...(isWhole ? processesOfWall(resources) : [])], 'SIGKILL')
  }
  // A killed task runs no further user instruction, but a task throttled by its CFS quota takes seconds to exit.
  cgroup?.liftCpuQuota()
  if (outer.length > 0) setTimeout(() => child.kill('SIGKILL'), REAP_MS_MAX).unref()
}

import { livingOf } from '../../../os/proc.ts'
import { signalAll } from '../../../os/signal.ts'
import type { RunscResources } from './wall.ts'

/** Time for `runsc run` to reap the sandbox before it is killed too. */
const REAP_MS_MAX = 200

/**
 * Kills the sentry, whose death takes each stub process with it, and the gofer. `runsc delete` is not used: it takes
 * more than a second, and its files are removed with the wall's folder. Idempotent.
 */
export function killResources({ processes, child, cgroup }: RunscResources): void {
  const [, ...inner] = processes
  signalAll(livingOf(inner), 'SIGKILL')
  if (inner.length === 0) signalAll(cgroup?.processes() ?? [], 'SIGKILL')
  // A killed task runs no further user instruction, but a task throttled by its CFS quota takes seconds to exit.
  cgroup?.liftCpuQuota()
  if (inner.length === 0) child.kill('SIGKILL')
  else setTimeout(() => child.kill('SIGKILL'), REAP_MS_MAX).unref()
}

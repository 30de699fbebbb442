import { processFacts, residentBytes } from '../../../os/proc.ts'
import { belowOf } from '../../../os/process-tree.ts'
import type { RunscResources } from './wall.ts'

const MS_PER_TICK = 10

/**
 * Bytes that a wall holds by its cgroup: memory of the program is shared memory of the sentry (a memfd), and so are its
 * scratch folders, which were granted as `disk`. Undefined without a cgroup.
 */
export function groupMemory({ cgroup }: Pick<RunscResources, 'cgroup'>): number | undefined {
  if (!cgroup) return undefined
  const { own, shared } = cgroup.ownMemory()
  return own + shared
}

/** The same where there is no cgroup, by the sentry's own account and its heap. */
export async function askedMemory(
  { control }: Pick<RunscResources, 'control'>,
  sandbox: number,
): Promise<number> {
  const { bytes } = await control.memory()
  return bytes + residentBytes(sandbox)
}

export async function idleMemoryOf(resources: RunscResources, sandbox: number): Promise<number> {
  return groupMemory(resources) ?? (await askedMemory(resources, sandbox))
}

/** Milliseconds of CPU time of the whole wall, of the sentry as well. */
export function spentMs({ cgroup, processes }: RunscResources): number {
  try {
    const spent = cgroup?.cpuMs()
    if (spent !== undefined) return spent
  } catch {
    // The group is gone.
  }
  const [outermost] = processes
  if (!outermost) return 0
  const pids = [outermost.pid, ...belowOf(outermost.pid)]
  return pids.reduce((sum, pid) => sum + (processFacts(pid)?.cpuTicks ?? 0), 0) * MS_PER_TICK
}

import type { Cgroup } from '../../../os/cgroup-interface.ts'
import { processFacts } from '../../../os/proc.ts'
import type { VmmProcess } from './source.ts'

const MS_PER_TICK = 10

/** Memory of a guest's cgroup in bytes: guest and VMM process together. */
export function memoryIn(cgroup: Cgroup): number {
  const { own, shared } = cgroup.ownMemory()
  return own + shared
}

/** Milliseconds of CPU time of a guest and its VMM process since the start. */
export function spentMs({ cgroup, processes }: Pick<VmmProcess, 'cgroup' | 'processes'>): number {
  try {
    const spent = cgroup?.cpuMs()
    if (spent !== undefined) return spent
  } catch {
    // The cgroup was removed.
  }
  const ticks = processes.map(({ pid }) => processFacts(pid)?.cpuTicks ?? 0)
  return ticks.reduce((sum, one) => sum + one, 0) * MS_PER_TICK
}

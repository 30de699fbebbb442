import type { Cgroup } from '../../../os/cgroup-interface.ts'
import { processFacts } from '../../../os/proc.ts'
import type { VmmProcess } from './source.ts'

const MS_PER_TICK = 10

/** Bytes that a guest's group holds, of its process and of the guest together. */
export function memoryIn(cgroup: Cgroup): number {
  const { own, shared } = cgroup.ownMemory()
  return own + shared
}

/** Milliseconds of CPU time of a guest since its start, of its process as well. */
export function spentMs({ cgroup, processes }: Pick<VmmProcess, 'cgroup' | 'processes'>): number {
  try {
    const spent = cgroup?.cpuMs()
    if (spent !== undefined) return spent
  } catch {
    // The group is gone.
  }
  const ticks = processes.map(({ pid }) => processFacts(pid)?.cpuTicks ?? 0)
  return ticks.reduce((sum, one) => sum + one, 0) * MS_PER_TICK
}

import { anonymousBytes, processFacts } from '../../../os/proc.ts'
import type { QemuProcess } from './process.ts'

const MS_PER_TICK = 10

/** Bytes that a machine holds, of QEMU and of its guest together. Throws where it is gone. */
export function memoryOf({ cgroup, processes }: QemuProcess): number {
  if (cgroup) {
    const { own, shared } = cgroup.ownMemory()
    return own + shared
  }
  return anonymousBytes(processes.at(-1)!.pid)
}

/** Milliseconds of CPU time of the machine since its start, of QEMU as well. */
export function spentMs({ cgroup, processes }: QemuProcess): number {
  try {
    const spent = cgroup?.cpuMs()
    if (spent !== undefined) return spent
  } catch {
    // The group is gone.
  }
  const ticks = processes.map(({ pid }) => processFacts(pid)?.cpuTicks ?? 0)
  return ticks.reduce((sum, one) => sum + one, 0) * MS_PER_TICK
}

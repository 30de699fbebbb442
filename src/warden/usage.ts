import { residentBytes } from '../os/proc.ts'
import type { Live } from './live.ts'
import type { WallUsage } from './protocol.ts'
import { processesOfWall } from './taken.ts'
import { cpuMsOf } from './tree.ts'

/** What a wall uses now, from outside: of all its processes, less what it is made of. */
export function usageOf({ taken, idleBytes }: Live): WallUsage {
  const pids = processesOfWall(taken)
  const bytes = pids.reduce((sum, pid) => sum + residentBytes(pid), 0)
  return {
    processes: pids.length,
    bytes: Math.max(0, bytes - idleBytes),
    cpuMs: Math.round(taken.cgroup?.cpuMs() ?? cpuMsOf(pids)),
  }
}

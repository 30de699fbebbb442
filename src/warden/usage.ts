import { residentBytes, waitedMsOf } from '../os/proc.ts'
import type { Live } from './live.ts'
import type { WallUsage } from '../contract/warden.ts'
import { processesOfWall } from './taken.ts'
import { spentMs } from './spent.ts'
import { bytesOf } from './tree.ts'

/** What a wall uses now, from outside: of all its processes, less what it is made of. */
export function usageOf({ taken, idleBytes }: Live): WallUsage {
  const pids = processesOfWall(taken)
  const bytes = taken.isWhole ? bytesOf(pids) : residentBytes(taken.processes[0]?.pid ?? 0)
  return {
    processes: Math.max(0, pids.length - taken.idleProcesses),
    bytes: Math.max(0, bytes - idleBytes),
    cpuMs: Math.round(spentMs(taken)),
    waitedMs: Math.round(pids.reduce((sum, pid) => sum + waitedMsOf(pid), 0)),
    atMs: performance.now(),
  }
}

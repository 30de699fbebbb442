import { residentBytes, waitedMsOf } from '../../../os/proc.ts'
import type { ProcessWall } from './process-wall.ts'
import type { WallUsage } from '../../../contract/warden.ts'
import { processesOfWall } from './members.ts'
import { spentMs } from './cpu-time.ts'
import { bytesOf } from '../../../os/process-tree.ts'

/** Usage of a wall now, seen from outside, less that of its own processes before the job. */
export function usageOf({ resources, idleBytes }: ProcessWall): WallUsage {
  const pids = processesOfWall(resources)
  const bytes = resources.isWhole ? bytesOf(pids) : residentBytes(resources.processes[0]?.pid ?? 0)
  return {
    processes: Math.max(0, pids.length - resources.idleProcesses),
    bytes: Math.max(0, bytes - idleBytes),
    cpuMs: Math.round(spentMs(resources)),
    waitedMs: Math.round(pids.reduce((sum, pid) => sum + waitedMsOf(pid), 0)),
    atMs: performance.now(),
  }
}

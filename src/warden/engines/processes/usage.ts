import { processBytes, waitedMsOf } from '../../../os/proc.ts'
import type { ProcessWall } from './process-wall.ts'
import type { WallUsage } from '../../../contract/warden.ts'
import { processesOfWall } from './members.ts'
import { ofGroup, spentMs } from './cpu-time.ts'
import { bytesOf } from '../../../os/process-tree.ts'

/** Usage, and the CPU time of the cgroup before it was read. */
interface LastUsage {
  readonly spent: number
  readonly usage: WallUsage
}

/** Cached usage by wall: valid while its CPU time is unchanged, because then no task ran. */
const last = new WeakMap<ProcessWall, LastUsage>()

/** Current usage of a wall, measured from outside, without that of its own processes before the job. */
export function usageOf(wall: ProcessWall): WallUsage {
  // Read first: CPU time spent after this read makes the next call measure again.
  const spent = ofGroup(wall.resources)
  const before = last.get(wall)
  if (before && before.spent === spent) return { ...before.usage, atMs: performance.now() }
  const usage = readUsage(wall)
  if (spent !== undefined) last.set(wall, { spent, usage })
  return usage
}

function readUsage({ resources, idleBytes }: ProcessWall): WallUsage {
  const pids = processesOfWall(resources)
  const bytes = resources.isWhole ? bytesOf(pids) : processBytes(resources.processes[0]?.pid ?? 0)
  return {
    processes: Math.max(0, pids.length - resources.idleProcesses),
    bytes: Math.max(0, bytes - idleBytes),
    cpuMs: Math.round(spentMs(resources)),
    waitedMs: Math.round(pids.reduce((sum, pid) => sum + waitedMsOf(pid), 0)),
    atMs: performance.now(),
  }
}

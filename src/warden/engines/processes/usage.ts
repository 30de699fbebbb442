import { residentBytes, waitedMsOf } from '../../../os/proc.ts'
import type { ProcessWall } from './process-wall.ts'
import type { WallUsage } from '../../../contract/warden.ts'
import { processesOfWall } from './members.ts'
import { ofGroup, spentMs } from './cpu-time.ts'
import { bytesOf } from '../../../os/process-tree.ts'

/** Usage and the CPU time of the group before it was read. */
interface LastUsage {
  readonly spent: number
  readonly usage: WallUsage
}

/** Last usage by wall: where nothing ran since, there are the same processes and they hold the same memory. */
const last = new WeakMap<ProcessWall, LastUsage>()

/** Usage of a wall now, seen from outside, less that of its own processes before the job. */
export function usageOf(wall: ProcessWall): WallUsage {
  // Read first, so that what runs after that is seen by the next call.
  const spent = ofGroup(wall.resources)
  const before = last.get(wall)
  if (before && before.spent === spent) return { ...before.usage, atMs: performance.now() }
  const usage = readUsage(wall)
  if (spent !== undefined) last.set(wall, { spent, usage })
  return usage
}

function readUsage({ resources, idleBytes }: ProcessWall): WallUsage {
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

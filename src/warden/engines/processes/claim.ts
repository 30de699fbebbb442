import type { ClaimBounds, ClaimReadBack } from '../../../contract/engine.ts'
import type { BoundMechanisms, UsualBounds } from '../../../contract/warden.ts'
import { processBytes } from '../../../os/proc.ts'
import { bind, presetTasks } from './bounds.ts'
import { spentMs } from './cpu-time.ts'
import { watchTree, watchWorker } from './memory-watch.ts'
import type { AppliedBounds, ProcessWall } from './process-wall.ts'
import type { WallResources } from './resources.ts'
import {
  bindCpu,
  groupMaxOf,
  kernelBytesMax,
  noBound,
  pageUp,
  presetGroup,
} from '../group-bounds.ts'

/**
 * Factor of overshoot by V8 and malloc before a worker is killed: its isolates enforce the limit of a job themselves,
 * and report an excess. A whole program has no such inner limit, so its wall ends at the first sample above the limit.
 */
export const workerFactor = 1.25
export const workerSlackBytes = { held: 20 * 2 ** 20, watched: 8 * 2 ** 20 } as const
/** Memory that earlier jobs may have left in a worker before it counts as spent. */
export const residueBytesMax = 14 * 2 ** 20

/**
 * Sets a job's bounds before the job is sent. Memory counts from the idle size of the wall, independent of residue of
 * earlier jobs; a worker with too much residue is spent.
 */
export function claim(wall: ProcessWall, asked: ClaimBounds): ClaimReadBack {
  const { resources, idleBytes } = wall
  // A single-use wall has run no code since it was ready.
  const resident = resources.isWhole ? idleBytes : processBytes(wall.pid)
  // A wall that has just ended is spent, also if its end is not reported yet.
  if (!wall.handles.areRunning() || resident > idleBytes + residueBytesMax)
    return { spent: true, enforced: noBound, bytes: resident, idleBytes }
  const { cgroup } = resources
  // A wall may shrink while it waits; that memory is not added to the limit of the next job.
  const residentMax = residentMaxOf(Math.min(idleBytes, resident), asked.memory, resources)
  const kernelBytes = resources.isWhole ? kernelBytesMax : 0
  const groupMax = groupMaxOf(wall, asked.memory, residentMax - resident, kernelBytes)
  cgroup?.limit({ memory: groupMax })
  const enforced = bind(resources, wall.layers, asked)
  // A single-use wall with an OOM kill before its job would have ended.
  wall.killsAtClaim = resources.isWhole ? 0 : (cgroup?.memoryKills() ?? 0)
  // Read before the job is sent: a baseline read after its release would be late on a busy machine, and leave out CPU
  // time that the program had used by then.
  wall.spentBefore = spentMs(resources)
  wall.held = { ...asked, residentMax, groupMax }
  wall.watch = watchFor(wall, wall.held, enforced)
  return { spent: false, enforced, bytes: resident, idleBytes }
}

/** RLIMIT_NPROC is left to the claim: raising it again takes CAP_SYS_RESOURCE. */
export function presetBounds(wall: ProcessWall, { memory, cpu, processes }: UsualBounds): void {
  const { resources } = wall
  if (!resources.isWhole) return
  presetGroup(wall, memory, () => {
    if (processes !== undefined) presetTasks(resources, processes)
    bindCpu(resources.cgroup, cpu)
  })
}

function watchFor(wall: ProcessWall, held: AppliedBounds, enforced: BoundMechanisms) {
  const residentMax = wall.isWatched ? held.residentMax : Infinity
  const cores = enforced.cpu === 'watch' ? held.cpu : undefined
  const isTree = wall.resources.isWhole || cores !== undefined
  return isTree ? treeWatchFor(wall, residentMax, cores) : watchWorker(wall.pid, residentMax)
}

export function treeWatchFor(wall: ProcessWall, residentMax: number, cores: number | undefined) {
  const { resources, idleBytes, killsAtClaim: kills, zones, disk } = wall
  return watchTree(resources, { idleBytes, residentMax, cores, kills, zones, disk })
}

function residentMaxOf(base: number, memory: number, { cgroup, isWhole }: WallResources): number {
  if (isWhole) return base + memory
  const slack = cgroup ? workerSlackBytes.held : workerSlackBytes.watched
  return base + Math.round(memory * workerFactor) + slack
}

/** Memory limits of processes and cgroup after a tightening. */
export function memoryLimitsFor(
  { resources }: ProcessWall,
  memory: number,
  before: AppliedBounds,
): Pick<AppliedBounds, 'residentMax' | 'groupMax'> {
  const less = residentMaxOf(0, before.memory, resources) - residentMaxOf(0, memory, resources)
  const { residentMax, groupMax } = before
  return { residentMax: residentMax - less, groupMax: pageUp(groupMax - less) }
}

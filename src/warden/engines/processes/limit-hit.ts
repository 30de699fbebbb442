import { setImmediate } from 'node:timers/promises'
import type { LimitHit } from '../../../contract/warden.ts'
import { attempt } from '../../../lib/attempt.ts'
import { hasRefusedTasks } from '../group-bounds.ts'
import { tasksFor, wallTasksMax } from './bounds.ts'
import type { ProcessWall } from './process-wall.ts'

type CountedWall = Pick<ProcessWall, 'resources' | 'held' | 'tasksPeak' | 'tasksRefused'>

/**
 * Limit that the job of a whole program has used up, or an exec of its session, by the counts of this kernel: of its scratch folders,
 * and of the tasks of its cgroup. Does not say that the program failed for it. Scratch folders stay full after the exec that filled
 * them; refusals belong to the exec in which they came.
 */
export function limitHitBy(wall: CountedWall): LimitHit | undefined {
  const { resources, held } = wall
  if (!resources.isWhole || !held) return undefined
  if (hasRefusedTask(wall)) return 'processes'
  return resources.space?.isFull ? 'disk' : undefined
}

/** The same for a wall that may have a keeper, whose report of a refusal may not have been read yet. */
export async function limitReported(wall: CountedWall): Promise<LimitHit | undefined> {
  // A write to a keeper that has ended (EPIPE) discards its unread lines. The report came before the end of the job: it is read by the
  // next whole turn of the event loop, which begins with the second of these.
  for (let turn = 0; turn < 2; turn++) await setImmediate()
  // The keeper answers after that report, or has ended.
  await wall.resources.sentinel?.status().catch(() => undefined)
  return limitHitBy(wall)
}

/**
 * True if more than half of the bound on tasks was in use at once. copy_process() counts a task for RLIMIT_NPROC first and for the
 * cgroup last: the bound refuses forks while others are between the two, and the peak of the cgroup may stay below it.
 */
export function isNearTaskBound(wall: CountedWall): boolean {
  const { resources, held } = wall
  if (!resources.isWhole || !held || resources.forbidsFork) return false
  const seen = attempt(() => resources.cgroup?.tasks())
  return seen !== undefined && seen.peak > wall.tasksPeak && seen.peak * 2 > taskBoundOf(wall)
}

/** Leaves refusals until now out of later answers: they belong to an exec that has ended. */
export function countTasksAnew(wall: CountedWall): void {
  const { resources, held } = wall
  const { sentinel, forbidsFork } = resources
  if (sentinel?.isKeeper && held?.processes !== undefined && !forbidsFork)
    sentinel.limitTasks(tasksFor(resources, held.processes))
  const seen = attempt(() => resources.cgroup?.tasks())
  if (!seen) return
  wall.tasksRefused = seen.refused
  wall.tasksPeak = seen.peak
}

/**
 * True if the bound on tasks refused one. A keeper refuses tasks itself. Not handled: RLIMIT_NPROC without such a cgroup, for which the kernel counts neither; and a second exec of a session that
 * reaches the bound, if it has ended the tasks before its own end, since the peak is of the whole life.
 */
function hasRefusedTask(wall: CountedWall): boolean {
  const { resources } = wall
  // Closed by a phase, which is no limit.
  if (resources.forbidsFork) return false
  if (resources.sentinel?.hasRefusedTask) return true
  const seen = attempt(() => resources.cgroup?.tasks())
  if (!seen) return false
  return hasRefusedTasks(seen, wall, taskBoundOf(wall))
}

function taskBoundOf({ resources, held }: CountedWall): number {
  const { processes } = held!
  return processes === undefined ? wallTasksMax : tasksFor(resources, processes)
}

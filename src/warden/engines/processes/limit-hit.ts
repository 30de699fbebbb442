import type { LimitHit } from '../../../contract/warden.ts'
import { attempt } from '../../../lib/attempt.ts'
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

/** Leaves refusals until now out of later answers: they belong to an exec that has ended. */
export function countTasksAnew(wall: CountedWall): void {
  const seen = attempt(() => wall.resources.cgroup?.tasks())
  if (!seen) return
  wall.tasksRefused = seen.refused
  wall.tasksPeak = seen.peak
}

/**
 * True if the bound on tasks refused one. RLIMIT_NPROC refuses before the cgroup, which then counts no refusal: its peak is at the
 * bound. Not handled: RLIMIT_NPROC without such a cgroup, for which the kernel counts neither; and a second exec of a session that
 * reaches the bound, if it has ended the tasks before its own end, since the peak is of the whole life.
 */
function hasRefusedTask({ resources, held, tasksPeak, tasksRefused }: CountedWall): boolean {
  const seen = attempt(() => resources.cgroup?.tasks())
  // Closed by a phase, which is no limit.
  if (!seen || resources.forbidsFork) return false
  const { processes } = held!
  const bound = processes === undefined ? wallTasksMax : tasksFor(resources, processes)
  const isReached = seen.now >= bound || (seen.peak >= bound && seen.peak > tasksPeak)
  return isReached || seen.refused > tasksRefused
}

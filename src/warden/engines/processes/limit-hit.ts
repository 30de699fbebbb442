import type { LimitHit } from '../../../contract/warden.ts'
import { attempt } from '../../../lib/attempt.ts'
import { tasksFor, wallTasksMax } from './bounds.ts'
import type { ProcessWall } from './process-wall.ts'

type CountedWall = Pick<ProcessWall, 'resources' | 'held' | 'tasksPeak'>

/**
 * Limit that the job of a whole program has used up, by the counts of this kernel: of its scratch folders, and of the tasks of its
 * cgroup. Does not say that the program failed for it.
 */
export function limitHitBy(wall: CountedWall): LimitHit | undefined {
  const { resources, held } = wall
  if (!resources.isWhole || !held) return undefined
  if (hasRefusedTask(wall)) return 'processes'
  return resources.space?.isFull ? 'disk' : undefined
}

/**
 * True if the bound on tasks refused one. RLIMIT_NPROC refuses before the cgroup, which then counts no refusal: its peak is at the
 * bound. Not handled: RLIMIT_NPROC without such a cgroup, for which the kernel counts neither.
 */
function hasRefusedTask({ resources, held, tasksPeak }: CountedWall): boolean {
  const seen = attempt(() => resources.cgroup?.tasks())
  // Closed by a phase, which is no limit.
  if (!seen || resources.forbidsFork) return false
  const { processes } = held!
  const bound = processes === undefined ? wallTasksMax : tasksFor(resources, processes)
  return seen.refused > 0 || seen.now >= bound || (seen.peak >= bound && seen.peak > tasksPeak)
}

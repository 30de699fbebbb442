import { belowOf } from '../../../os/process-tree.ts'
import type { WallResources } from './resources.ts'

/** Processes that belong to a wall, and signals to them. */

/** The init of the wall and the program, without the outermost process, which waits outside. */
export function insideOf({ processes }: Pick<WallResources, 'processes'>): readonly number[] {
  return (processes.length > 1 ? processes.slice(0, -1) : processes).map(({ pid }) => pid)
}

/**
 * Every process of the wall without the outermost, which waits outside. With a cgroup this includes processes that were
 * reparented away from its first process; without one a keeper adopts them.
 */
export function processesOfWall({
  cgroup,
  processes,
  mark,
}: Pick<WallResources, 'cgroup' | 'processes' | 'mark'>): readonly number[] {
  const [first, outermost] = [processes[0]?.pid, processes.at(-1)?.pid]
  if (mark !== undefined && outermost !== undefined && !cgroup) return belowOf(outermost)
  if (!cgroup) return first === undefined ? [] : [first, ...belowOf(first)]
  return cgroup.processes().filter((pid) => pid === first || pid !== outermost)
}

/** Without the init of the PID namespace, which only reaps and forwards the exit status. */
export function guestsIn(
  { processes }: Pick<WallResources, 'processes'>,
  pids: readonly number[],
): readonly number[] {
  return processes.length > 2 ? pids.filter((pid) => pid !== processes[0]!.pid) : pids
}

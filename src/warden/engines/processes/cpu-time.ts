import { attempt } from '../../../lib/attempt.ts'
import { processesOfWall } from './members.ts'
import type { WallResources } from './resources.ts'
import { cpuMsOf, cpuMsOfReaped } from '../../../os/process-tree.ts'

/** Milliseconds of CPU time of a wall: of all processes ever in its cgroup, or without one of the live processes. */
export function spentMs(resources: WallResources): number {
  return ofGroup(resources) ?? ofProcesses(resources, processesOfWall(resources))
}

/** CPU time of its live processes, and of those that a keeper reaped. */
export function ofProcesses(
  { mark, processes }: Pick<WallResources, 'mark' | 'processes'>,
  pids: readonly number[],
): number {
  const keeper = mark === undefined ? undefined : processes.at(-1)?.pid
  return cpuMsOf(pids) + (keeper === undefined ? 0 : cpuMsOfReaped(keeper))
}

/** CPU time by its cgroup; undefined without one, or if it was removed. */
export function ofGroup({ cgroup }: WallResources): number | undefined {
  return attempt(() => cgroup?.cpuMs())
}

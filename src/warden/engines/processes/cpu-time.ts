import { processesOfWall } from './members.ts'
import type { WallResources } from './resources.ts'
import { cpuMsOf, cpuMsOfReaped } from '../../../os/process-tree.ts'

/** Milliseconds of processor time that a wall's processes have used: all there were by its group, else those there are. */
export function spentMs(resources: WallResources): number {
  return ofGroup(resources) ?? ofProcesses(resources, processesOfWall(resources))
}

/** The same by its processes alone, with those that a keeper adopted and waited for. */
export function ofProcesses(
  { mark, processes }: Pick<WallResources, 'mark' | 'processes'>,
  pids: readonly number[],
): number {
  const keeper = mark === undefined ? undefined : processes.at(-1)?.pid
  return cpuMsOf(pids) + (keeper === undefined ? 0 : cpuMsOfReaped(keeper))
}

/** Undefined where no group counts it, or the group is gone. */
export function ofGroup({ cgroup }: WallResources): number | undefined {
  try {
    return cgroup?.cpuMs()
  } catch {
    return undefined
  }
}

import { processesOfWall } from './members.ts'
import type { WallResources } from './resources.ts'
import { cpuMsOf } from '../../../os/process-tree.ts'

/** Milliseconds of processor time that a wall's processes have used: all there were by its group, else those there are. */
export function spentMs(resources: WallResources): number {
  return ofGroup(resources) ?? cpuMsOf(processesOfWall(resources))
}

/** Undefined where no group counts it, or the group is gone. */
export function ofGroup({ cgroup }: WallResources): number | undefined {
  try {
    return cgroup?.cpuMs()
  } catch {
    return undefined
  }
}

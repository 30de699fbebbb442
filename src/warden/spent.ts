import { processesOfWall, type Taken } from './taken.ts'
import { cpuMsOf } from './tree.ts'

/** Milliseconds of processor time that a wall's processes have used: all there were by its group, else those there are. */
export function spentMs(taken: Taken): number {
  return ofGroup(taken) ?? cpuMsOf(processesOfWall(taken))
}

/** Undefined where no group counts it, or the group is gone. */
export function ofGroup({ cgroup }: Taken): number | undefined {
  try {
    return cgroup?.cpuMs()
  } catch {
    return undefined
  }
}

import os from 'node:os'
import type { EnclosureEnd } from '../../../contract/engine.ts'
import type { ProcessWall } from './process-wall.ts'
import type { WallExit } from '../../../contract/warden.ts'
import { ofGroup } from './cpu-time.ts'
import { whyMoved } from './keep-stopped.ts'

type Ended = Pick<ProcessWall, 'resources' | 'killsAtClaim' | 'spentBefore' | 'spentSeen'>

/** A shell, and bubblewrap like it, tells of a signal by a code above this. */
const SIGNAL_CODES_FROM = 128
/** V8's words before it aborts. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i

/** End of a wall whose last process has ended; `resources` are not released yet. */
export function endOf(wall: Ended): EnclosureEnd {
  const { cgroup, child, complaint, sentinel } = wall.resources
  return {
    // The socket of a process that the OOM killer ended closes first, so it may look as if the server had ended it.
    isOutOfMemory: killsIn(cgroup) > wall.killsAtClaim || OUT_OF_MEMORY.test(complaint()),
    detail:
      sentinel?.why ??
      whyMoved(wall.resources) ??
      `exit ${child.exitCode ?? child.signalCode ?? 'unknown'}`,
    exit: exitOf(wall),
  }
}

/** OOM kills counted by the cgroup; 0 where the group was removed. */
function killsIn(cgroup: ProcessWall['resources']['cgroup']): number {
  try {
    return cgroup?.memoryKills() ?? 0
  } catch {
    return 0
  }
}

/** How a wall's outermost process ended, once it has. */
function exitOf(wall: Ended): WallExit {
  const { exitCode, signalCode } = wall.resources.child
  return {
    exitCode,
    signal: signalCode ?? signalOf(exitCode ?? 0),
    cpuMs: spentSince(wall),
  }
}

function signalOf(code: number): string | null {
  const number = code - SIGNAL_CODES_FROM
  return Object.entries(os.constants.signals).find(([, one]) => one === number)?.[0] ?? null
}

/** CPU time since the claim: by the cgroup, which counts to the end, or as sampled at the kill. */
function spentSince({ resources, spentBefore, spentSeen }: Ended): number | null {
  const spent = ofGroup(resources) ?? spentSeen
  return spent > 0 ? Math.max(0, spent - spentBefore) : null
}

import os from 'node:os'
import type { EnclosureEnd } from '../../../contract/engine.ts'
import type { ProcessWall } from './process-wall.ts'
import type { WallExit } from '../../../contract/warden.ts'
import { ofGroup } from './cpu-time.ts'
import { whyMoved } from './keep-stopped.ts'

type Ended = Pick<ProcessWall, 'resources' | 'killsAtClaim' | 'spentBefore' | 'spentSeen'>

/** A shell, like bubblewrap, exits with 128 + signal number if its child was killed. */
const SIGNAL_CODES_FROM = 128
/** Messages of V8 before it aborts for lack of memory. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i

/** End of a wall whose last process has ended; `resources` are not released yet. */
export function endOf(wall: Ended): EnclosureEnd {
  const { cgroup, child, complaint, sentinel } = wall.resources
  return {
    // An OOM kill closes the socket first, so it may look like an end by the server.
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

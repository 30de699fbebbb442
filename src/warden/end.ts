import os from 'node:os'
import type { Held } from './hold.ts'
import type { Live } from './live.ts'
import type { Reply, WallExit } from '../contract/warden.ts'
import { ofGroup } from './spent.ts'
import { whyMoved } from './still.ts'

/** A shell, and bubblewrap like it, tells of a signal by a code above this. */
const SIGNAL_CODES_FROM = 128
/** V8's words before it aborts. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i

/** What the server is told of a wall whose last process has ended; from here on it is known how. */
export function endOf(
  live: Live,
  held: Held | undefined,
): Extract<Reply, { readonly ended: string }> {
  const { cgroup, child, complaint, sentinel } = live.taken
  // The socket of a process that the kernel ended closes first, so that it may look as if the server had ended it.
  const isMemory = killsIn(cgroup) > live.killsAtClaim || OUT_OF_MEMORY.test(complaint())
  if (isMemory && live.how !== 'deadline') live.how = 'memory'
  live.how ??= 'exit'
  return {
    ended: live.id,
    how: live.how,
    peakBytes: Math.max(held?.peakBytes ?? 0, live.peakBytes),
    detail:
      sentinel?.why ??
      whyMoved(live.taken) ??
      `exit ${child.exitCode ?? child.signalCode ?? 'unknown'}`,
    exit: exitOf(live),
  }
}

/** None in a group that somebody else has removed. */
function killsIn(cgroup: Live['taken']['cgroup']): number {
  try {
    return cgroup?.memoryKills() ?? 0
  } catch {
    return 0
  }
}

/** How a wall's outermost process ended, once it has. */
function exitOf(live: Live): WallExit {
  const { exitCode, signalCode } = live.taken.child
  return {
    exitCode,
    signal: signalCode ?? signalOf(exitCode ?? 0),
    cpuMs: spentSince(live),
  }
}

function signalOf(code: number): string | null {
  const number = code - SIGNAL_CODES_FROM
  return Object.entries(os.constants.signals).find(([, one]) => one === number)?.[0] ?? null
}

/** Its group knows to the end; else what was seen as it was ended. */
function spentSince({ taken, spentBefore, spentSeen }: Live): number | null {
  const spent = ofGroup(taken) ?? spentSeen
  return spent > 0 ? Math.max(0, spent - spentBefore) : null
}

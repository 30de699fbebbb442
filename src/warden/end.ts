import os from 'node:os'
import type { Held } from './hold.ts'
import type { Live } from './live.ts'
import type { Reply, WallExit } from './protocol.ts'
import type { Taken } from './taken.ts'

/** A shell, and bubblewrap like it, tells of a signal by a code above this. */
const SIGNAL_CODES_FROM = 128
/** V8's words before it aborts. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i

/** What the server is told of a wall whose last process has ended; from here on it is known how. */
export function endOf(live: Live, held: Held | undefined): Reply {
  const { cgroup, child, complaint } = live.taken
  // The socket of a process that the kernel ended closes first, so that it may look as if the server had ended it.
  const isMemory =
    (cgroup?.memoryKills() ?? 0) > live.killsAtClaim || OUT_OF_MEMORY.test(complaint())
  if (isMemory && live.how !== 'deadline') live.how = 'memory'
  live.how ??= 'exit'
  return {
    ended: live.id,
    how: live.how,
    peakBytes: Math.max(held?.peakBytes ?? 0, live.peakBytes),
    detail: `exit ${child.exitCode ?? child.signalCode ?? 'unknown'}`,
    exit: exitOf(live.taken),
  }
}

/** How a wall's outermost process ended, once it has. */
function exitOf({ child, cgroup }: Taken): WallExit {
  const { exitCode, signalCode } = child
  return {
    exitCode,
    signal: signalCode ?? signalOf(exitCode ?? 0),
    cpuMs: cpuMsOf(cgroup),
  }
}

function signalOf(code: number): string | null {
  const number = code - SIGNAL_CODES_FROM
  return Object.entries(os.constants.signals).find(([, one]) => one === number)?.[0] ?? null
}

function cpuMsOf(cgroup: Taken['cgroup']): number | null {
  try {
    return cgroup?.cpuMs() ?? null
  } catch {
    return null
  }
}

import os from 'node:os'
import type { WallExit } from './protocol.ts'
import type { Taken } from './taken.ts'

/** A shell, and bubblewrap like it, tells of a signal by a code above this. */
const SIGNAL_CODES_FROM = 128

/** How a wall's outermost process ended, once it has. */
export function exitOf({ child, cgroup }: Taken): WallExit {
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

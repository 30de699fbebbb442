import { holdersOf } from '../os/proc.ts'
import type { Live } from './live.ts'
import type { ConnectionEnds } from '../contract/warden.ts'
import { processesOfWall } from './taken.ts'
import { threadMs } from '../lib/thread-ms.ts'

const LINKS_MAX = 1024
/** What all walls together may take of the warden's time: it has others to look after. */
const SHARE = 0.05
const BURST_MS = 50
let left = BURST_MS
let leftAt = performance.now()
const CALLERS_MAX = 8

/**
 * Who in a wall holds a connection to its way out, as pids of this machine; several where a socket was inherited, none
 * where it is closed already. Only a wall with a sentinel can say: there is somebody in its network who knows.
 */
export async function callersOf(
  { taken, pid }: Live,
  ends: ConnectionEnds,
): Promise<readonly number[]> {
  if (!mayLook()) return []
  const inode = (await taken.sentinel?.socketOf(ends)) ?? 0
  if (inode === 0) return []
  const before = threadMs()
  const pids = [pid, ...processesOfWall(taken).filter((one) => one !== pid)]
  const holders = holdersOf(pids, inode, LINKS_MAX).slice(0, CALLERS_MAX)
  left -= threadMs() - before
  return holders
}

function mayLook(): boolean {
  const now = performance.now()
  left = Math.min(BURST_MS, left + (now - leftAt) * SHARE)
  leftAt = now
  return left > 0
}

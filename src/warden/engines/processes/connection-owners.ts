import { holdersOf } from '../../../os/proc.ts'
import type { ProcessWall } from './process-wall.ts'
import type { ConnectionEnds } from '../../../contract/warden.ts'
import { processesOfWall } from './members.ts'
import { threadMs } from '../../../lib/thread-ms.ts'

const LINKS_MAX = 1024
/** Rate limit over all walls: a share of the warden's CPU time, with a burst. */
const SHARE = 0.05
const BURST_MS = 50
let left = BURST_MS
let leftAt = performance.now()
const CALLERS_MAX = 8

/**
 * Processes of a wall that hold a connection to its egress listener, as pids of this machine; several where a socket was inherited,
 * none where it is closed already. Takes a sentinel: it asks in the wall's network namespace for the socket's inode. A keeper
 * made the connection itself, and says for which process; none where it did not.
 */
export async function ownersOf(
  { resources, pid }: ProcessWall,
  ends: ConnectionEnds,
): Promise<readonly number[]> {
  if (resources.sentinel?.isKeeper) {
    const caller = await resources.sentinel.callerOf(ends)
    return caller === 0 ? [] : [caller]
  }
  if (!mayLook()) return []
  const inode = (await resources.sentinel?.socketOf(ends)) ?? 0
  if (inode === 0) return []
  const before = threadMs()
  const pids = [pid, ...processesOfWall(resources).filter((one) => one !== pid)]
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

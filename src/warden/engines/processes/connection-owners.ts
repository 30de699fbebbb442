import { holdersOf } from '../../../os/proc.ts'
import type { ProcessWall } from './process-wall.ts'
import type { ConnectionEnds } from '../../../contract/warden.ts'
import { processesOfWall } from './members.ts'
import { RateBucket } from '../../../lib/rate-bucket.ts'
import { threadMs } from '../../../lib/thread-ms.ts'

const LINKS_MAX = 1024
/** Rate limit over all walls: a share of the warden's CPU time, with a burst of milliseconds. */
const share = new RateBucket({ burst: 50, eachMs: 0.05 })
const CALLERS_MAX = 8

/**
 * Host pids of the processes of a wall that hold a connection to its egress listener; several if a socket was
 * inherited, none if it is already closed. Needs a sentinel, which looks up the socket's inode in the wall's network
 * namespace. A keeper makes connections itself, and reports the process of each.
 */
export async function ownersOf(
  { resources, pid }: ProcessWall,
  ends: ConnectionEnds,
): Promise<readonly number[]> {
  if (resources.sentinel?.isKeeper) {
    const caller = await resources.sentinel.callerOf(ends)
    return caller === 0 ? [] : [caller]
  }
  if (share.left <= 0) return []
  const inode = (await resources.sentinel?.socketOf(ends)) ?? 0
  if (inode === 0) return []
  const before = threadMs()
  const pids = [pid, ...processesOfWall(resources).filter((one) => one !== pid)]
  const holders = holdersOf(pids, inode, LINKS_MAX).slice(0, CALLERS_MAX)
  share.spend(threadMs() - before)
  return holders
}

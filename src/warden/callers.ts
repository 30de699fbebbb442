import { holdersOf } from '../os/proc.ts'
import type { Live } from './live.ts'
import { processesOfWall } from './taken.ts'

/** Some milliseconds of the warden's time at most. */
const LINKS_MAX = 1024
const CALLERS_MAX = 8

/**
 * Who in a wall holds a connection to its way out, as pids of this machine; several where a socket was inherited, none
 * where it is closed already. Only a wall with a sentinel can say: there is somebody in its network who knows.
 */
export async function callersOf(
  { taken, pid }: Live,
  ends: { readonly local: number; readonly remote: number },
): Promise<readonly number[]> {
  const inode = (await taken.sentinel?.socketOf(ends)) ?? 0
  if (inode === 0) return []
  const pids = [pid, ...processesOfWall(taken).filter((one) => one !== pid)]
  return holdersOf(pids, inode, LINKS_MAX).slice(0, CALLERS_MAX)
}

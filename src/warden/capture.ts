import { MayflyError } from '../contract/error.ts'
import type { Beside, Live } from './live.ts'
import type { CaptureProgress } from '../contract/warden.ts'
import type { Sentinel } from './sentinel.ts'
import { beginCopy } from './still.ts'
import { guestsIn, processesOfWall } from './taken.ts'
import { largestFirst } from './tree.ts'

/**
 * Has a wall's sentinel copy what its processes hold in memory, `bytes` of it at most, those that hold most first. None
 * of it comes through here: whoever asks has the socket already. Throws MayflyError UNAVAILABLE where there is no
 * sentinel, or where it looks into none of them.
 */
export async function capture({ id, taken }: Live, bytes: number): Promise<CaptureProgress> {
  const pids = largestFirst(guestsIn(taken, processesOfWall(taken)))
  beginCopy(taken)
  const processes = await sentinelOf(id, taken.sentinel).capture(pids, bytes)
  if (processes === 0) throw cannot(id, 'its sentinel looks into none of its processes')
  return { processes, leftOut: pids.length - processes }
}

/** The socket for it, before anything is on its way. */
export function openMemory({ id, taken }: Live): { readonly value: null; readonly beside: Beside } {
  const handle = sentinelOf(id, taken.sentinel).takeMemory()
  if (handle) return { value: null, beside: { wall: id, handle } }
  throw cannot(id, 'somebody else captures it')
}

function sentinelOf(id: string, sentinel: Sentinel | undefined): Sentinel {
  if (sentinel) return sentinel
  throw cannot(id, 'it has no sentinel')
}

function cannot(id: string, why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot capture the memory of wall "${id}": ${why}`)
}

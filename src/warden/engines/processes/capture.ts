import { MayflyError } from '../../../contract/error.ts'
import type { Socket } from 'node:net'
import type { ProcessWall } from './process-wall.ts'
import type { CaptureProgress } from '../../../contract/warden.ts'
import type { Sentinel } from './sentinel.ts'
import { allowCopy } from './keep-stopped.ts'
import { guestsIn, processesOfWall } from './members.ts'
import { largestFirst } from '../../../os/process-tree.ts'

/**
 * Has the sentinel copy the memory of the wall's processes, `bytes` of it at most, the largest processes first. The
 * copy flows from the sentinel to the server's socket and never through the warden. Throws MayflyError UNAVAILABLE
 * without a sentinel, or if ptrace is refused for all processes.
 */
export async function capture(
  { id, resources }: ProcessWall,
  bytes: number,
): Promise<CaptureProgress> {
  const pids = largestFirst(guestsIn(resources, processesOfWall(resources)))
  allowCopy(resources)
  const processes = await sentinelOf(id, resources.sentinel).capture(pids, bytes)
  if (processes === 0) throw cannot(id, 'its sentinel looks into none of its processes')
  return { processes, leftOut: pids.length - processes }
}

/** Socket of the copies, opened before the first one; a second call throws. */
export function openMemory({ id, resources }: ProcessWall): Socket {
  const handle = sentinelOf(id, resources.sentinel).takeMemory()
  if (handle) return handle
  throw cannot(id, 'another capture is running')
}

function sentinelOf(id: string, sentinel: Sentinel | undefined): Sentinel {
  if (sentinel) return sentinel
  throw cannot(id, 'it has no sentinel')
}

function cannot(id: string, why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot capture the memory of wall "${id}": ${why}`)
}

import { setTimeout as delay } from 'node:timers/promises'
import { processesMarked } from '../../../os/marked.ts'
import { signalAll } from '../../../os/signal.ts'
import { releaseOnceGone } from '../release-once-gone.ts'
import { closeListener } from './egress-listener.ts'
import { killWall } from './kill.ts'
import type { WallResources } from './resources.ts'
import { removeWallFolder } from '../wall-folder.ts'

/** Delay until the members of the cgroup are killed: processes of a failed start may have no parent that kills them. */
const REST_AFTER_MS = 16
/** A killed sentinel is gone at once unless the machine is busy. */
const SENTINEL_MS_MAX = 1_000

/** Kills processes by their mark after a keeper was killed. A keeper that exits has reaped each process of its wall. */
function killMarked({ child, mark, sentinel }: WallResources): boolean {
  if (mark === undefined || child.exitCode !== null) return false
  if (child.signalCode === null) return sentinel?.isKeeper === true
  const left = processesMarked(mark)
  signalAll(left, 'SIGKILL')
  return left.length > 0
}

/** Kills remaining processes and releases all resources of the wall; see `releaseOnceGone`. */
export async function releaseResources(
  resources: WallResources,
  releaseLease: (id: string) => void,
): Promise<void> {
  const { id, cgroup, scratch, sentinel } = resources
  const began = performance.now()
  closeListener(resources)
  resources.space?.close()
  killWall(resources)
  sentinel?.close()
  await releaseOnceGone(resources, {
    async removeFolder() {
      // The sentinel has the wall's uid and is in no cgroup.
      if (sentinel)
        await Promise.race([sentinel.ended, delay(SENTINEL_MS_MAX, undefined, { ref: false })])
      if (scratch) await removeWallFolder(id)
    },
    releaseLease,
    hasMore: () => killMarked(resources),
    killRest() {
      if (performance.now() - began >= REST_AFTER_MS)
        signalAll(cgroup?.processes() ?? [], 'SIGKILL')
    },
  })
}

import { signalAll } from '../../../os/signal.ts'
import { releaseOnceGone } from '../release-once-gone.ts'
import { killResources } from './kill.ts'
import { removeWallFolder } from '../wall-folder.ts'
import type { RunscResources } from './wall.ts'

/** Kills remaining processes and releases all resources of the wall; see `releaseOnceGone`. */
export async function releaseResources(
  resources: RunscResources,
  releaseLease: (id: string) => void,
): Promise<void> {
  killResources(resources)
  await releaseOnceGone(resources, {
    removeFolder: () => removeWallFolder(resources.id),
    releaseLease,
    killRest: () => signalAll(resources.cgroup?.processes() ?? [], 'SIGKILL'),
  })
}

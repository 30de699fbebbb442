import { releaseOnceGone } from '../release-once-gone.ts'
import { closeListener } from './exit-listener.ts'
import { killWall } from './kill.ts'
import type { WallResources } from './resources.ts'
import { removeScratch } from './scratch.ts'

/** Kills what is left and releases all that the wall holds; see `releaseOnceGone`. */
export async function releaseResources(
  resources: WallResources,
  releaseLease: (id: string) => void,
): Promise<void> {
  closeListener(resources)
  killWall(resources)
  resources.sentinel?.close()
  const removeFolder = async () => {
    if (resources.scratch) await removeScratch(resources.id)
  }
  await releaseOnceGone(resources, { removeFolder, releaseLease })
}

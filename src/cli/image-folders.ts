import type { ImagePolicy } from '../contract/vulnerability.ts'
import { signerFolder } from '../lib/state-folder.ts'
import { loadCliConfig } from './open-assembly.ts'
import type { Globals } from './print.ts'

/** Folders of images and of the key that signs them, and the policy of the gate. */
export interface ImageFolders {
  readonly folder: string
  readonly keys: string
  readonly policy: ImagePolicy
}

export async function imageFolders(flags: Globals): Promise<ImageFolders> {
  const { state, images } = loadCliConfig(flags).config
  const { imageFolder } = await import('../images/store.ts')
  return { folder: imageFolder(state), keys: signerFolder(state), policy: images }
}

import { signerFolder } from '../lib/state-folder.ts'
import { abortOnStop } from './abort-on-stop.ts'
import { loadCliConfig } from './open-assembly.ts'
import { note, type Globals } from './print.ts'

/** Folders of images and of the key that signs them, and the policy of the gate. */
export async function imageFolders(flags: Globals) {
  const { state, images } = loadCliConfig(flags).config
  const { imageFolder } = await import('../images/store.ts')
  return { folder: imageFolder(state), keys: signerFolder(state), policy: images }
}

export const packagesOption = [
  '--packages <folder>',
  'folder of downloaded packages; default: the cache of this user',
] as const

/** Tools of a command that builds, imports, exports or unpacks images. */
export async function imageTools(flags: Globals & { readonly packages?: string }) {
  const { openPackageCache, packageFolder } = await import('../images/package-cache.ts')
  const { ownMakers } = await import('../images/recipe.ts')
  return {
    makers: ownMakers,
    cache: openPackageCache(flags.packages ?? packageFolder()),
    note: (text: string) => note(flags, text),
    signal: abortOnStop(),
  }
}

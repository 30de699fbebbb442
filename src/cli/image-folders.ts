import { openPackageCache, packageFolder } from '../images/package-cache.ts'
import { ownMakers } from '../images/recipe.ts'
import { imageFolder } from '../images/store.ts'
import { signerFolder } from '../lib/state-folder.ts'
import { abortOnStop } from './abort-on-stop.ts'
import { loadCliConfig } from './open-assembly.ts'
import { note, type Globals } from './print.ts'

/** Folders of images and of the key that signs them, and the policy of the gate. */
export function imageFolders(flags: Globals) {
  const { state, images } = loadCliConfig(flags).config
  return { folder: imageFolder(state), keys: signerFolder(state), policy: images }
}

export const packagesOption = [
  '--packages <folder>',
  'folder of downloaded packages; default: the cache of this user',
] as const

/** Tools of a command that builds, imports, exports or unpacks images. */
export function imageTools(flags: Globals & { readonly packages?: string }) {
  return {
    makers: ownMakers,
    cache: openPackageCache(flags.packages ?? packageFolder()),
    note: (text: string) => note(flags, text),
    signal: abortOnStop(),
  }
}

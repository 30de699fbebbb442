import { whyManifestUntrusted } from '../../../images/manifest.ts'
import { findImage, imageFolder } from '../../../images/store.ts'
import { signerFolder } from '../../../lib/state-folder.ts'
import { imageKey } from '../../image-signer.ts'

/**
 * True if Mayfly built the image from a recipe, by its signed manifest in the warden's own store: the server, which names the
 * digest, may be compromised. False for an imported image, and if the store does not tell.
 */
export function isBuiltHere(state: string, digest: string): boolean {
  try {
    const { signed } = findImage(imageFolder(state), `sha256:${digest}`)
    const { manifest } = signed
    const isOfRecipe = manifest.recipe !== undefined && manifest.origin === undefined
    const key = imageKey(signerFolder(state))
    return (
      isOfRecipe && manifest.digest === digest && whyManifestUntrusted(signed, key) === undefined
    )
  } catch {
    return false
  }
}

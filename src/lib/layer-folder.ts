import os from 'node:os'
import path from 'node:path'

/** Root's cache, with a folder for each uid that creates layers. */
const CACHE_OF_ROOT = '/var/cache/mayfly'

/** Folder of root's Mayfly for layers that a process of this uid creates. */
export function layerFolderFor(uid: number): string {
  return path.join(CACHE_OF_ROOT, `layers-${uid}`)
}

/** Layer folder of this process. Throws if the user's folder is unknown. */
export function layerFolder(): string {
  const uid = process.getuid?.()
  if (uid === 0) return layerFolderFor(0)
  const cache = process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache')
  return path.join(cache, 'mayfly', 'layers')
}

import os from 'node:os'
import path from 'node:path'

/** Root's, in which each uid that makes layers has a folder of its own. */
const CACHE_OF_ROOT = '/var/cache/mayfly'

/** Where root's Mayfly keeps the layers that a process of this uid makes. */
export function layerFolderFor(uid: number): string {
  return path.join(CACHE_OF_ROOT, `layers-${uid}`)
}

/** Where this process keeps them. Throws where nothing says which folder is this user's. */
export function layerFolder(): string {
  const uid = process.getuid?.()
  if (uid === 0) return layerFolderFor(0)
  const cache = process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache')
  return path.join(cache, 'mayfly', 'layers')
}

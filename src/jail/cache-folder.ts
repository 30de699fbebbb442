import os from 'node:os'
import path from 'node:path'

/** Cache folder of this user. Throws where nothing says which it is: a user may have no home and no name. */
export function cacheFolder(name: string): string {
  if (process.getuid?.() === 0) return `/var/cache/mayfly/${name}`
  const cache = process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache')
  return path.join(cache, 'mayfly', name)
}

import os from 'node:os'
import path from 'node:path'

/** Cache folder of this user. Throws for a user without a home folder and a name. */
export function cacheFolder(name: string): string {
  if (process.getuid?.() === 0) return `/var/cache/mayfly/${name}`
  const cache = process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache')
  return path.join(cache, 'mayfly', name)
}

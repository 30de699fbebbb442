import os from 'node:os'
import path from 'node:path'

/** Folder of images that were unpacked for walls of this user, each a tree named by the digest of its image. */
export function imageRootFolder(): string {
  if (process.getuid?.() === 0) return '/var/cache/mayfly/image-roots'
  const cache = process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache')
  return path.join(cache, 'mayfly', 'image-roots')
}

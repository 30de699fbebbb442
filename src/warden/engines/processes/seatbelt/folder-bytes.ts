import { lstat, opendir } from 'node:fs/promises'
import path from 'node:path'

/**
 * Size of the writable folder of a wall, which no quota bounds. The program may change the folder meanwhile, also put a link in
 * place of a folder: what is counted wrong then counts against that program alone. Not counted: an unlinked file that is open.
 */
const BLOCK_BYTES = 512

/** Bytes on the disk below a folder; Infinity above `entriesMax` entries, or for a path that is too long. */
export async function folderBytes(folder: string, entriesMax: number): Promise<number> {
  const folders = [folder]
  let [bytes, entries] = [0, 0]
  for (let at = folders.pop(); at !== undefined; at = folders.pop())
    try {
      for await (const entry of await opendir(at)) {
        const place = path.join(at, entry.name)
        const facts = await lstat(place)
        if (facts.isDirectory()) folders.push(place)
        bytes += facts.blocks * BLOCK_BYTES
        if (++entries > entriesMax) return Infinity
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENAMETOOLONG') return Infinity
      // ENOENT: removed meanwhile.
    }
  return bytes
}

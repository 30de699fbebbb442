import { type Dirent, readdirSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Entries of a folder and of all folders below it, by relative path. Links are not followed: readdir(…) with `recursive` follows
 * those to folders (Node 26), so that two links to `.` would be read some 2 ** 40 times.
 */
export function* walkFolder(
  root: string,
): Generator<{ readonly place: string; readonly entry: Dirent }> {
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop())
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const place = join(folder, entry.name)
      if (entry.isDirectory()) folders.push(place)
      yield { place, entry }
    }
}

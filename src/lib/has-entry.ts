import { lstatSync } from 'node:fs'
import { attempt } from './attempt.ts'
import { asOwner } from './owner-files.ts'

/**
 * True if there is a file, folder or link at this path. A link counts wherever it leads (lstat(2)), so that a configuration
 * whose link is broken is an unreadable file, and not a missing one; a path that cannot be searched does not count.
 */
export function hasEntry(path: string): boolean {
  return attempt(() => asOwner(path, (at) => lstatSync(at), false)) !== undefined
}

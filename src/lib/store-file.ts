import { chmodSync, closeSync, constants, lstatSync, openSync } from 'node:fs'

/**
 * Files of the state folder, opened without following symlinks.
 *
 * The folder belongs to the server's uid. A compromised server could replace a store there with a symbolic link; a
 * process with more rights would then read, create or chmod(2) the target. SQLite resolves links of a database itself
 * (it opens only -wal and -shm with O_NOFOLLOW), so the name is examined first. It would wait for a writer of a FIFO
 * named -journal.
 *
 * Relies on: a process with more rights than the folder's owner acts as that owner (`src/cli/state-owner.ts`), which
 * makes a race between check and open harmless. Not handled: hard links (fs.protected_hardlinks, and rights of the
 * owner).
 */

/** Creates a database's file with mode 0600, or restricts one. Throws Error if it or one of SQLite beside it is not regular. */
export function claimStoreFile(path: string): void {
  assertPlainStore(path)
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600))
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
    // Not opened: closing another descriptor of it would drop the POSIX locks of this process (fcntl(2)).
    const mode = plainFileMode(path)
    if (mode !== undefined && mode !== 0o600) chmodSync(path, 0o600)
  }
}

/** Checks a database with the files of SQLite beside it before it is read. Throws Error for a name that is no regular file. */
export function assertPlainStore(path: string): void {
  for (const end of ['', '-wal', '-shm', '-journal']) plainFileMode(path + end)
}

function plainFileMode(path: string): number | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (!stats) return undefined
  if (stats.isFile()) return stats.mode & 0o7777
  throw new Error(`"${path}" is ${stats.isSymbolicLink() ? 'a symbolic link' : 'no regular file'}`)
}

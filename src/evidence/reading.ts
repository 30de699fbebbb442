import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'

const busyMs = 5000

/**
 * Opens a database for reading. Writes nothing and creates no file: beside one that nobody has open, SQLite would make
 * its two helpers again, with this user as their owner. Throws what SQLite throws.
 */
export function openReading(path: string): DatabaseSync {
  const url = pathToFileURL(path)
  if (isSettled(path)) url.searchParams.set('immutable', '1')
  return new DatabaseSync(url, { readOnly: true, timeout: busyMs })
}

/** Whether all of it is in the one file: nobody has it open, and nobody died with it open. */
export function isSettled(path: string): boolean {
  return !existsSync(`${path}-wal`)
}

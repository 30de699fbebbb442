import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makeFolder } from './make-folder.ts'
import { assertOwnState } from './state-folder.ts'
import { claimStoreFile } from './store-file.ts'

/** Longest wait for a lock of another process. */
const busyMs = 5000
const format = 1
const formatSchema = `
CREATE TABLE IF NOT EXISTS meta (format INTEGER NOT NULL) STRICT;
INSERT INTO meta SELECT ${format} WHERE NOT EXISTS (SELECT 1 FROM meta);`

export interface DatabaseOptions {
  /** Statements that create what is missing. */
  readonly schema: string
  /** `FULL`: a commit survives a power failure. Default `NORMAL`. */
  readonly synchronous?: 'FULL' | 'NORMAL'
  /** True if deleted content is overwritten. */
  readonly isShredded?: boolean
  /** True if `PRAGMA incremental_vacuum` returns free pages to the disk; a file that was made without it stays as it is. */
  readonly isShrinkable?: boolean
}

/** The file was written in another format. */
export class FormatError extends Error {}

/** As `openUnversioned`, for a database that names its format. Throws FormatError as well. */
export function openDatabase(path: string, options: DatabaseOptions): DatabaseSync {
  const db = openUnversioned(path, { ...options, schema: formatSchema + options.schema })
  const found = db.prepare('SELECT format FROM meta').get()?.['format']
  if (found !== format) throw new FormatError(`its format is "${String(found)}", not "${format}"`)
  return db
}

/**
 * Opens a database that several processes may share, with mode 0600 and its folder with 0700; `:memory:` keeps nothing
 * on disk. Throws SQLite errors, and Error for a link in its place.
 */
export function openUnversioned(
  path: string,
  { schema, synchronous = 'NORMAL', isShredded = false, isShrinkable = false }: DatabaseOptions,
): DatabaseSync {
  if (path !== ':memory:') {
    assertOwnState(dirname(path))
    makeFolder(dirname(path), 0o700)
    claimStoreFile(path)
  }
  const db = new DatabaseSync(path, { timeout: busyMs })
  // Before anything is written to the file: it has its layout from then on.
  if (isShrinkable) db.exec('PRAGMA auto_vacuum = INCREMENTAL')
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}`)
  if (isShredded) db.exec('PRAGMA secure_delete = ON')
  db.exec(schema)
  return db
}

/** Runs work in one transaction, which holds the write lock from its start. */
export function transact<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const value = work()
    db.exec('COMMIT')
    return value
  } catch (thrown) {
    // Some errors, such as SQLITE_FULL, have already rolled back.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw thrown
  }
}

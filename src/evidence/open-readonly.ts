import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { distrustSchema } from './known-schema.ts'

const busyMs = 5000
const IO_ERROR = 10
/** SQLITE_READONLY_ROLLBACK: a journal beside the database is to be applied first. */
const HOT_JOURNAL = 776

/**
 * Opens a database read-only without creating files. For a database that no process has open, SQLite would otherwise
 * create -wal and -shm files owned by this user; `immutable` avoids that. Throws SQLite errors.
 */
export function openReadOnly(path: string): DatabaseSync {
  if (isSettled(path)) return openAt(path, true)
  const db = openAt(path, false)
  try {
    db.prepare('PRAGMA schema_version').get()
    return db
  } catch (thrown) {
    db.close()
    const { errcode = 0 } = thrown as { errcode?: number }
    if (errcode === HOT_JOURNAL) throw besideJournal(path, thrown)
    if (errcode % 256 !== IO_ERROR) throw thrown
    return openCopy(path)
  }
}

function besideJournal(path: string, cause: unknown): Error {
  const what = `SQLite would change it by "${path}-journal" first, a file that Mayfly does not write`
  return new Error(`${what}: copy both, move that file away, and try again`, { cause })
}

function openAt(path: string, isImmutable: boolean): DatabaseSync {
  const url = pathToFileURL(path)
  if (isImmutable) url.searchParams.set('immutable', '1')
  const db = new DatabaseSync(url, { readOnly: true, timeout: busyMs })
  distrustSchema(db)
  return db
}

/**
 * With a WAL, SQLite needs shared memory even to read, and on a full disk cannot create it; then both files are
 * copied and the copy is read. Safe, because any writer would have created that memory.
 */
function openCopy(path: string): DatabaseSync {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-read-'))
  try {
    const copy = join(folder, 'copy.db')
    for (const end of ['', '-wal']) copyFileSync(path + end, copy + end)
    const db = openAt(copy, false)
    db.prepare('PRAGMA schema_version').get()
    return db
  } finally {
    // Unlinked while open: the data stays readable.
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * True if there is no WAL: no process has it open, and none died with it open. A rollback journal changes what others
 * read, and `immutable` would ignore it; Mayfly leaves none, and SQLite refuses to read beside one that is hot.
 */
export function isSettled(path: string): boolean {
  return !existsSync(`${path}-wal`) && !existsSync(`${path}-journal`)
}

import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'

const busyMs = 5000
const IO_ERROR = 10

/**
 * Opens a database for reading. Writes nothing and creates no file: beside one that nobody has open, SQLite would make
 * its two helpers again, with this user as their owner. Throws what SQLite throws.
 */
export function openReading(path: string): DatabaseSync {
  if (isSettled(path)) return openAt(path, true)
  const db = openAt(path, false)
  try {
    db.prepare('PRAGMA schema_version').get()
    return db
  } catch (thrown) {
    db.close()
    if (((thrown as { errcode?: number }).errcode ?? 0) % 256 !== IO_ERROR) throw thrown
    return openCopy(path)
  }
}

function openAt(path: string, isImmutable: boolean): DatabaseSync {
  const url = pathToFileURL(path)
  if (isImmutable) url.searchParams.set('immutable', '1')
  return new DatabaseSync(url, { readOnly: true, timeout: busyMs })
}

/**
 * Beside a write-ahead log SQLite needs shared memory even to read, and on a full disk it can't make any: then a copy of
 * both files is read, elsewhere. A process that has the log open has that memory, so nobody writes meanwhile.
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
    // What is open stays readable without its name.
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whether all of it is in the one file: nobody has it open, and nobody died with it open. */
export function isSettled(path: string): boolean {
  return !existsSync(`${path}-wal`)
}

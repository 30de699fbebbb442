import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  statSync,
  type Stats,
} from 'node:fs'
import { dirname } from 'node:path'

/** Journal beside a database; SQLite itself uses the name `audit.db-journal`. */
export const journalOf = (database: string): string => `${database.replace(/\.db$/, '')}.journal`

const appending = constants.O_RDWR | constants.O_APPEND
/** Follows no link, and does not block on a FIFO. */
const asItIs = constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Opens the journal for appending, created with mode 0600. Throws Error for a link, another file type, or another owner. */
export function openJournalFile(path: string): number {
  try {
    return checked(path, openSync(path, appending | asItIs))
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
  }
  return checked(path, openSync(path, appending | asItIs | constants.O_CREAT, 0o600))
}

/** Opens a new file; replaces a draft left by a killed process. */
export function openDraft(path: string): number {
  const fd = openSync(
    path,
    appending | constants.O_NOFOLLOW | constants.O_CREAT | constants.O_EXCL,
    0o600,
  )
  return checked(path, fd)
}

/** Opens the journal for reading; undefined if there is none. Throws Error for a link, or another file type. */
export function readJournalFile(path: string): number | undefined {
  try {
    return plain(path, openSync(path, constants.O_RDONLY | asItIs))
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw thrown
  }
}

/** Stat fields of the open file, if the path still refers to it. */
export function openAt(path: string, fd: number): Stats | undefined {
  const named = lstatSync(path, { throwIfNoEntry: false })
  const open = fstatSync(fd)
  return named?.ino === open.ino && named.dev === open.dev ? open : undefined
}

function plain(path: string, fd: number): number {
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  throw new Error(`"${path}" is not a regular file`)
}

/** Checks owner and link count. Gives a file created by root to the owner of the folder, so that the server can open it. */
function checked(path: string, fd: number): number {
  try {
    plain(path, fd)
    const { uid, mode, nlink } = fstatSync(fd)
    const folder = statSync(dirname(path))
    const self = process.geteuid?.() ?? uid
    if (uid !== folder.uid && uid !== self) throw new Error(`"${path}" belongs to another user`)
    if (nlink > 1) throw new Error(`"${path}" has another hard link`)
    if (self === 0 && uid !== folder.uid) fchownSync(fd, folder.uid, folder.gid)
    if (uid === self && (mode & 0o7777) !== 0o600) fchmodSync(fd, 0o600)
    return fd
  } catch (thrown) {
    closeSync(fd)
    throw thrown
  }
}

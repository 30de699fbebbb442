import {
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  statSync,
  type Stats,
} from 'node:fs'
import { dirname } from 'node:path'
import { openDescriptor, type FileDescriptor } from '../lib/file-descriptor.ts'

/** Journal beside a database; SQLite itself uses the name `audit.db-journal`. */
export const journalOf = (database: string): string => `${database.replace(/\.db$/, '')}.journal`

const appending = constants.O_RDWR | constants.O_APPEND
/** Follows no link, and does not block on a FIFO. */
const asItIs = constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Opens the journal for appending, created with mode 0600. Throws Error for a link, another file type, or another owner. */
export function openJournalFile(path: string): number {
  try {
    return opened(path, appending | asItIs, assertOwn).fd
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
  }
  return opened(path, appending | asItIs | constants.O_CREAT, assertOwn).fd
}

/** Opens a new file; replaces a draft left by a killed process. */
export function openDraft(path: string): FileDescriptor {
  const { O_NOFOLLOW, O_CREAT, O_EXCL } = constants
  return opened(path, appending | O_NOFOLLOW | O_CREAT | O_EXCL, assertOwn)
}

/** Opens the journal for reading; undefined if there is none. Throws Error for a link, or another file type. */
export function readJournalFile(path: string): FileDescriptor | undefined {
  try {
    return opened(path, constants.O_RDONLY | asItIs, assertPlain)
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

function opened(
  path: string,
  flags: number,
  assertUsable: (path: string, fd: number) => void,
): FileDescriptor {
  const file = openDescriptor(path, flags, 0o600)
  try {
    assertUsable(path, file.fd)
    return file
  } catch (thrown) {
    file[Symbol.dispose]()
    throw thrown
  }
}

function assertPlain(path: string, fd: number): void {
  if (!fstatSync(fd).isFile()) throw new Error(`"${path}" is not a regular file`)
}

/** Checks owner and link count. Gives a file created by root to the owner of the folder, so that the server can open it. */
function assertOwn(path: string, fd: number): void {
  assertPlain(path, fd)
  const { uid, mode, nlink } = fstatSync(fd)
  const folder = statSync(dirname(path))
  const self = process.geteuid?.() ?? uid
  if (uid !== folder.uid && uid !== self) throw new Error(`"${path}" belongs to another user`)
  if (nlink > 1) throw new Error(`"${path}" has another hard link`)
  if (self === 0 && uid !== folder.uid) fchownSync(fd, folder.uid, folder.gid)
  if (uid === self && (mode & 0o7777) !== 0o600) fchmodSync(fd, 0o600)
}

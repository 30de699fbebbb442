import { randomBytes } from 'node:crypto'
import {
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { doze } from './doze.ts'
import { type FileDescriptor, openDescriptor, openToRead } from './file-descriptor.ts'
import { makeFolder } from './make-folder.ts'

/**
 * A small file in the state folder, shared by several processes: mode 0600, replaced atomically, changed under
 * a lock file (a mutex between processes). Its owner is the folder's owner, so that a server with fewer rights
 * than the command that changed it can still read it.
 */
const bytesMax = 16 * 2 ** 20
const waitMsMax = 5_000
const stepMs = 10
/** Age at which a lock's holder counts as dead. */
const staleMs = 30_000

/**
 * Reads the text; undefined if the file is missing. Throws Error if it is unreadable, or accessible to others.
 */
export function readPrivate(path: string): string | undefined {
  using file = openIfThere(path)
  if (!file) return undefined
  const stats = fstatSync(file.fd)
  if (!stats.isFile()) throw new Error('it is not a regular file')
  if (process.platform !== 'win32' && (stats.mode & 0o077) !== 0)
    throw new Error('other users can read or write it')
  if (stats.size > bytesMax) throw new Error(`it is larger than ${bytesMax} bytes`)
  return readFileSync(file.fd, 'utf8')
}

function openIfThere(path: string): FileDescriptor | undefined {
  try {
    return openToRead(path)
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw code === 'ELOOP' ? new Error('it is a symbolic link', { cause: thrown }) : thrown
  }
}

/** Version stamp that changes with the file; `none` without a file. */
export function versionOf(path: string): string {
  const stats = lstatSync(path, { throwIfNoEntry: false, bigint: true })
  return stats ? `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.mode}` : 'none'
}

/** Reads, changes and replaces the file under its lock; `work` gets the current text. */
export function changePrivate<T>(
  path: string,
  work: (text: string | undefined) => { readonly text: string; readonly value: T },
): T {
  return locked(path, () => {
    const { text, value } = work(readPrivate(path))
    replace(path, text)
    return value
  })
}

/** Replaces the file, or a symlink of that name, under its lock. */
export function replacePrivate(path: string, textOf: () => string): void {
  locked(path, () => replace(path, textOf()))
}

function locked<T>(path: string, work: () => T): T {
  makeFolder(dirname(path), 0o700)
  const lock = `${path}.lock`
  takeLock(lock)
  try {
    return work()
  } finally {
    rmSync(lock, { force: true })
  }
}

/** Gives a file to its folder's owner, if this process is root. */
export function giveToFolder(path: string): void {
  if (process.getuid?.() !== 0 || !existsSync(path)) return
  const { uid, gid } = statSync(dirname(path))
  lchownSync(path, uid, gid)
}

function replace(path: string, text: string): void {
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    writeSynced(draft, text)
    giveToFolder(draft)
    renameSync(draft, path)
  } catch (thrown) {
    rmSync(draft, { force: true })
    throw thrown
  }
}

function writeSynced(path: string, text: string): void {
  using file = openDescriptor(path, 'wx', 0o600)
  fchmodSync(file.fd, 0o600)
  writeFileSync(file.fd, text)
  fsyncSync(file.fd)
}

function takeLock(lock: string): void {
  const until = performance.now() + waitMsMax
  for (;;) {
    try {
      return writeFileSync(lock, '', { flag: 'wx', mode: 0o600 })
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
    }
    const since = statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0
    // A lock from the future was taken before the clock was set back.
    if (since > 0 && Math.abs(Date.now() - since) > staleMs) rmSync(lock, { force: true })
    else if (performance.now() > until) throw new Error(`"${lock}" is held by another process`)
    else doze(stepMs)
  }
}

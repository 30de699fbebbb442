import { randomBytes } from 'node:crypto'
import {
  chownSync,
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { makeFolder } from './make-folder.ts'

/**
 * A small file in the state folder, shared by several processes: mode 0600, replaced atomically, changed under
 * a lock. Its owner is the folder's owner, so that a server with fewer rights than the command that changed it
 * can still read it.
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
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats) return undefined
  if (process.platform !== 'win32' && (stats.mode & 0o077) !== 0)
    throw new Error('others may read or write it')
  if (stats.size > bytesMax) throw new Error(`it is larger than ${bytesMax} bytes`)
  return readFileSync(path, 'utf8')
}

/** Version stamp that changes with the file; `none` without a file. */
export function versionOf(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true })
  return stats ? `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.mode}` : 'none'
}

/** Reads, changes and replaces the file under its lock; `work` gets the current text. */
export function changePrivate<T>(
  path: string,
  work: (text: string | undefined) => { readonly text: string; readonly value: T },
): T {
  makeFolder(dirname(path), 0o700)
  const lock = `${path}.lock`
  takeLock(lock)
  try {
    const { text, value } = work(readPrivate(path))
    replace(path, text)
    return value
  } finally {
    rmSync(lock, { force: true })
  }
}

/** Gives a file to its folder's owner, if this process is root. */
export function giveToFolder(path: string): void {
  if (process.getuid?.() !== 0 || !existsSync(path)) return
  const { uid, gid } = statSync(dirname(path))
  chownSync(path, uid, gid)
}

function replace(path: string, text: string): void {
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    const out = openSync(draft, 'wx', 0o600)
    try {
      fchmodSync(out, 0o600)
      writeFileSync(out, text)
      fsyncSync(out)
    } finally {
      closeSync(out)
    }
    giveToFolder(draft)
    renameSync(draft, path)
  } catch (thrown) {
    rmSync(draft, { force: true })
    throw thrown
  }
}

function takeLock(lock: string): void {
  const until = performance.now() + waitMsMax
  for (;;) {
    try {
      return closeSync(openSync(lock, 'wx', 0o600))
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
    }
    const since = statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0
    if (since > 0 && Date.now() - since > staleMs) rmSync(lock, { force: true })
    else if (performance.now() > until) throw new Error(`"${lock}" is held by another process`)
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stepMs)
  }
}

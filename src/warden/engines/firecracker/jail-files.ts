import assert from 'node:assert/strict'
import {
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../../contract/error.ts'
import { identify, type ProcessIdentity } from '../../../os/proc.ts'
import { inJail } from './configuration.ts'
import { jailFolder, jailRoot, pidFile, type JailLocation } from './jailer.ts'

/**
 * Files in the root of a jail. Mayfly creates and fills it before the jailer runs; from then on it is owned by the wall's uid, so
 * files are opened without following links, and checked by their descriptors.
 */
const PID_BYTES_MAX = 20
const READ_ONLY = 0o444

/** Makes an empty root. Throws EEXIST if the id is in use. */
export function makeJail(place: JailLocation): string {
  mkdirSync(path.dirname(jailFolder(place)), { recursive: true, mode: 0o755 })
  mkdirSync(jailFolder(place), { mode: 0o755 })
  const root = jailRoot(place)
  mkdirSync(root, { mode: 0o700 })
  return root
}

/**
 * Adds a file shared by machines to the root under this name: as a hard link, or as a copy if it is on another file system. The
 * machine does not run as the file's owner, so a file that others can write to is refused.
 */
export function placeShared(root: string, file: string, name: string): void {
  const to = path.join(root, inJail(name))
  const { mode } = statSync(file)
  assert((mode & 0o022) === 0, `"${file}" is shared by machines, and writable by other users`)
  try {
    linkSync(file, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error
    copyFileSync(file, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  }
}

/**
 * Moves a snapshot file out of the jail of a machine that has ended, and makes it read-only. `to` is on the same file system.
 * Throws MayflyError PROTOCOL for anything but a regular file with a link count of 1.
 */
export function takeFile(root: string, name: string, to: string): void {
  renameSync(path.join(root, inJail(name)), to)
  let fd: number | undefined
  try {
    fd = openLink(to)
    const facts = fstatSync(fd)
    if (!facts.isFile() || facts.nlink !== 1) throw planted(to)
    if (process.getuid?.() === 0) fchownSync(fd, 0, 0)
    fchmodSync(fd, READ_ONLY)
  } catch (error) {
    rmSync(to, { recursive: true, force: true })
    throw error
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/**
 * The jailed process, by the pid file of the jailer; undefined while there is none. The pid counts only if the root of that process
 * is this jail: the wall owns the file, and could write the pid of any host process to have it killed.
 */
export function jailedProcess(place: JailLocation): ProcessIdentity | undefined {
  const pid = readPid(pidFile(place))
  if (pid === undefined || pid <= 1) return undefined
  try {
    const own = identify(pid)
    const [root, folder] = [statSync(jailRoot(place)), statSync(`/proc/${pid}/cwd`)]
    return root.ino === folder.ino && root.dev === folder.dev ? own : undefined
  } catch {
    return undefined
  }
}

/** Follows no links. Idempotent. */
export function removeJail(place: JailLocation): void {
  rmSync(jailFolder(place), { recursive: true, force: true })
}

function readPid(file: string): number | undefined {
  let fd: number
  try {
    fd = openLink(file)
  } catch {
    return undefined
  }
  try {
    if (!fstatSync(fd).isFile()) return undefined
    const bytes = Buffer.alloc(PID_BYTES_MAX)
    const text = bytes.toString('latin1', 0, readSync(fd, bytes))
    return /^\d{1,10}\s*$/.test(text) ? Number(text) : undefined
  } finally {
    closeSync(fd)
  }
}

/** O_NONBLOCK: a planted FIFO would otherwise block this process. */
function openLink(file: string): number {
  return openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
}

function planted(file: string): MayflyError {
  return new MayflyError('PROTOCOL', 'Cannot take a snapshot: its file was replaced', {
    detail: `"${file}"`,
  })
}

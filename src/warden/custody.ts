import { constants, fstatSync, lstatSync, openSync, readdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { attempt } from '../lib/attempt.ts'
import {
  landlockVersion,
  restrictFiles,
  setNoNewPrivileges,
  setParentDeathSignal,
} from '../os/libc.js'

/**
 * Denies this process access to a folder for good by Landlock, where the warden cannot do so by a uid of its own.
 * Landlock has allow rules only: so each sibling of the folder and of each of its parents is allowed. Entries created
 * later directly in one of these parents are out of reach; those created below a sibling are not.
 */
const O_PATH = 0o10000000
const GONE = new Set(['ENOENT', 'ELOOP', 'EACCES'])

/** Has the kernel end this process with its parent, which a change of its uid cancelled (PR_SET_PDEATHSIG). */
export function dieWithParent(): void {
  setParentDeathSignal(os.constants.signals.SIGKILL)
}

/** Returns whether the denial holds: false without Landlock, and then the key is only as safe as this process. */
export async function shutOut(folder: string): Promise<boolean> {
  if (process.platform !== 'linux' || landlockVersion() === 0) return false
  setNoNewPrivileges()
  restrictFiles({
    readable: [],
    writable: siblingsOf(folder),
    open: openPlace,
    net: false,
    scope: false,
  })
  return (await isShut(() => readdirSync(folder))) && (await isShut(() => readdir(folder)))
}

/**
 * Probes access from this thread and from libuv's pool: a thread that existed before is outside the Landlock domain.
 */
async function isShut(look: () => unknown): Promise<boolean> {
  try {
    await look()
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES'
  }
}

/** Siblings of the folder and of each of its parents. */
function siblingsOf(folder: string): readonly string[] {
  const above = path.dirname(folder)
  if (above === folder) return []
  const own = entriesOf(above)
    .map((name) => path.join(above, name))
    .filter((place) => place !== folder && isReachable(place))
  return [...siblingsOf(above), ...own]
}

/**
 * Entries of a folder; for one that may be traversed but not listed (mode 0711), the names in it by which this process was
 * started.
 */
function entriesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    const below = startedWith().map((place) => path.relative(folder, place).split(path.sep)[0]!)
    return [...new Set(below)].filter((name) => name !== '' && name !== '..')
  }
}

function startedWith(): readonly string[] {
  return [import.meta.dirname, process.execPath, process.cwd(), os.homedir(), os.tmpdir()]
}

/** Symlinks are left out: their target is reached by its own path, or must not be reached. */
function isReachable(place: string): boolean {
  return attempt(() => lstatSync(place).isSymbolicLink()) === false
}

/** Undefined for an entry that was removed since the listing. Never follows a symlink. */
function openPlace(place: string) {
  try {
    const fd = openSync(place, O_PATH | constants.O_NOFOLLOW)
    return { fd, folder: fstatSync(fd).isDirectory() }
  } catch (error) {
    if (GONE.has((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

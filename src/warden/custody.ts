import { constants, fstatSync, lstatSync, openSync, readdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { landlockVersion, restrictFiles, setNoNewPrivileges } from '../os/libc.js'

/**
 * Shuts this process out of a folder for good, where the warden has no uid of its own to do it with. Landlock only
 * knows what is allowed, so everything on the way down to the folder is, but the folder: each other entry beside it,
 * whole. What is made later in one of the folders on that way cannot be reached from here; what is made deeper can.
 */
const O_PATH = 0o10000000
const GONE = new Set(['ENOENT', 'ELOOP', 'EACCES'])

/** Whether it holds: false where Landlock is missing, and then the key is only as safe as this process. */
export async function shutOut(folder: string): Promise<boolean> {
  if (process.platform !== 'linux' || landlockVersion() === 0) return false
  setNoNewPrivileges()
  restrictFiles({
    readable: [],
    writable: besides(folder),
    open: openPlace,
    net: false,
    scope: false,
  })
  return (await isShut(() => readdirSync(folder))) && (await isShut(() => readdir(folder)))
}

/** Tried from this thread and from one of the pool's: a thread that was there before would not be shut out. */
async function isShut(look: () => unknown): Promise<boolean> {
  try {
    await look()
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES'
  }
}

/** Every entry beside the folder and beside each folder above it. */
function besides(folder: string): readonly string[] {
  const above = path.dirname(folder)
  if (above === folder) return []
  const own = entriesOf(above)
    .map((name) => path.join(above, name))
    .filter((place) => place !== folder && isReachable(place))
  return [...besides(above), ...own]
}

/** Entries of a folder; of one that may be traversed but not listed, those that this process was started with. */
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

/** A link is left out: what it points to is reached by its own path, or not to be reached at all. */
function isReachable(place: string): boolean {
  try {
    return !lstatSync(place).isSymbolicLink()
  } catch {
    return false
  }
}

/** Undefined for what is gone since it was listed: other people's folders come and go. Never follows a link. */
function openPlace(place: string) {
  try {
    const fd = openSync(place, O_PATH | constants.O_NOFOLLOW)
    return { fd, folder: fstatSync(fd).isDirectory() }
  } catch (error) {
    if (GONE.has((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

import { randomUUID } from 'node:crypto'
import { accessSync, chmodSync, closeSync, constants, lstatSync, openSync } from 'node:fs'
import {
  opendirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  type Dirent,
} from 'node:fs'
import { rmdir, unlink } from 'node:fs/promises'
import path from 'node:path'
import { attempt } from '../../lib/attempt.ts'
import { isBelow } from '../../lib/is-below.ts'

/**
 * Folders of this machine's disk that the program of a wall can change while the warden, whose user may own other files,
 * is in them.
 *
 * Problem: any part of a name may be replaced by a link that leads out of the wall (TOCTOU); a folder may be unreadable
 * for its owner; a tree may be deeper than a path can name (PATH_MAX); and a name may be any bytes, also no UTF-8.
 *
 * Mechanism: a folder is opened (O_PATH, no link), judged by where the descriptor leads, and used through that. Paths and
 * names have a character for each byte (`latin1`), so that each name leads to its file, and lengths are those of the kernel.
 */
const O_PATH = 0o10000000
const FLAGS = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW
const { R_OK, W_OK, X_OK } = constants
/** A child of a folder with a shorter path has a path below PATH_MAX. */
export const folderPathMax = 3_800
/** rm holds a descriptor for each level of a tree. */
const levelsMax = 200
/** Entries that are removed at a time: a program makes a hundred thousand in a second. */
const REMOVED_AT_ONCE = 256

/** Canonical path of a folder that its wall cannot replace, with a character for each byte. Throws the error of realpath(3). */
export function hostileRoot(folder: string): string {
  return realpathSync(folder, 'latin1')
}

/** Bytes of a path that has a character for each, as functions of `node:fs` take them. */
export function pathBytes(place: string): Buffer {
  return Buffer.from(place, 'latin1')
}

/**
 * Calls `act` with a path that leads to this folder by its descriptor. Its owner has the `rights` there, by default to read
 * and enter it. Undefined if it is no folder below `root`, which is of `hostileRoot`, any more.
 */
export function inFolder<T>(
  folder: string,
  root: string,
  act: (own: string) => T,
  rights = R_OK | X_OK,
): T | undefined {
  const fd = attempt(() => openSync(pathBytes(folder), FLAGS))
  if (fd === undefined) return undefined
  try {
    const own = `/proc/self/fd/${fd}`
    if (!isBelow(attempt(() => readlinkSync(own, 'latin1')) ?? '', root)) return undefined
    restoreRights(own, rights)
    return act(own)
  } finally {
    closeSync(fd)
  }
}

/** Names in a folder; none if it cannot be read. */
const namesInFolder = (folder: string) => attempt(() => readdirSync(folder, 'latin1')) ?? []

/** First entries of a folder, which may have more than memory has room for. Throws the error of opendir(3). */
export function firstEntries(folder: string, most: number): readonly Dirent[] {
  const entries: Dirent[] = []
  using listing = opendirSync(folder, { encoding: 'latin1', bufferSize: REMOVED_AT_ONCE })
  while (entries.length < most) {
    const entry = listing.readSync()
    if (!entry) break
    entries.push(entry)
  }
  return entries
}

function restoreRights(folder: string, rights: number): void {
  try {
    accessSync(folder, rights)
  } catch {
    attempt(() => chmodSync(folder, 0o700))
  }
}

/**
 * Makes every folder below removable for this user, its owner, and the tree no deeper than rm can remove. Called when no
 * process of the wall is left.
 */
export function makeRemovable(tree: string): void {
  const root = hostileRoot(tree)
  const folders = [{ place: root, level: 0 }]
  const visit = (own: string, at: { place: string; level: number }, name: string) => {
    const child = pathBytes(path.join(own, name))
    if (!attempt(() => lstatSync(child))?.isDirectory()) return
    const [place, level] = [path.join(at.place, name), at.level + 1]
    if (place.length < folderPathMax && level < levelsMax) return folders.push({ place, level })
    return folders.push({ place: moveUp(child, root), level: 1 })
  }
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const at = next
    const visitAll = (own: string) => namesInFolder(own).forEach((name) => visit(own, at, name))
    inFolder(at.place, root, visitAll, R_OK | W_OK | X_OK)
  }
}

/** Moves a folder to the top of its tree, under a name that no program can have used, and returns its path. */
function moveUp(folder: Buffer, root: string): string {
  chmodSync(folder, 0o700)
  const up = path.join(root, `.mayfly-deep-${randomUUID()}`)
  renameSync(folder, pathBytes(up))
  return up
}

/**
 * Removes a tree of any size, shape and modes, in bounded memory and without blocking the thread for long. A link is removed
 * itself. Called when no process of the wall is left.
 */
export async function removeHostileTree(tree: string): Promise<void> {
  const root = path.join(hostileRoot(path.dirname(tree)), path.basename(tree))
  const facts = lstatSync(root, { throwIfNoEntry: false })
  if (facts?.isDirectory()) await removeFolder(root, root, 0)
  else if (facts) await unlink(root)
}

async function removeFolder(folder: string, root: string, level: number): Promise<void> {
  for (;;) {
    const first = (own: string) => firstEntries(own, REMOVED_AT_ONCE)
    const entries = inFolder(folder, root, first, R_OK | W_OK | X_OK)
    if (!entries) throw new Error('it is no folder any more')
    if (entries.length === 0) break
    const isFolder = (entry: Dirent) => entry.isDirectory()
    const placeOf = ({ name }: Dirent) => path.join(folder, name)
    const files = entries.filter((entry) => !isFolder(entry)).map(placeOf)
    await Promise.all(files.map((file) => unlink(pathBytes(file))))
    for (const below of entries.filter(isFolder).map(placeOf))
      if (below.length < folderPathMax && level + 1 < levelsMax)
        await removeFolder(below, root, level + 1)
      else moveUp(pathBytes(below), root)
  }
  await rmdir(pathBytes(folder))
}

import { accessSync, chmodSync, closeSync, constants, lstatSync, openSync } from 'node:fs'
import { readdirSync, readlinkSync, realpathSync, renameSync } from 'node:fs'
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
export const namesInFolder = (folder: string) => attempt(() => readdirSync(folder, 'latin1')) ?? []

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
  let moved = 0
  const visit = (own: string, at: { place: string; level: number }, name: string) => {
    const child = pathBytes(path.join(own, name))
    if (!attempt(() => lstatSync(child))?.isDirectory()) return
    const [place, level] = [path.join(at.place, name), at.level + 1]
    if (place.length < folderPathMax && level < levelsMax) return folders.push({ place, level })
    chmodSync(child, 0o700)
    const up = path.join(root, `.mayfly-deep-${moved++}`)
    renameSync(child, pathBytes(up))
    return folders.push({ place: up, level: 1 })
  }
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const at = next
    const visitAll = (own: string) => namesInFolder(own).forEach((name) => visit(own, at, name))
    inFolder(at.place, root, visitAll, R_OK | W_OK | X_OK)
  }
}

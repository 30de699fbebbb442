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
 * for its owner; and a tree may be deeper than a path can name (PATH_MAX).
 *
 * Mechanism: a folder is opened (O_PATH, no link), judged by where the descriptor leads, and used through that.
 */
const O_PATH = 0o10000000
const FLAGS = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW
/** A child of a folder with a shorter path has a path below PATH_MAX. */
export const folderPathMax = 3_800

/**
 * Calls `act` with a path that leads to this folder by its descriptor, readable by its owner. Undefined if it is no
 * folder below `root`, which is canonical, any more.
 */
export function inFolder<T>(folder: string, root: string, act: (own: string) => T): T | undefined {
  const fd = attempt(() => openSync(folder, FLAGS))
  if (fd === undefined) return undefined
  try {
    const own = `/proc/self/fd/${fd}`
    if (!isBelow(attempt(() => readlinkSync(own)) ?? '', root)) return undefined
    restoreRights(own)
    return act(own)
  } finally {
    closeSync(fd)
  }
}

/** Names in a folder; none if it cannot be read. */
export const namesInFolder = (folder: string) => attempt(() => readdirSync(folder)) ?? []

function restoreRights(folder: string): void {
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch {
    attempt(() => chmodSync(folder, 0o700))
  }
}

/** Makes every folder below removable for this user, its owner. Called when no process of the wall is left. */
export function makeRemovable(tree: string): void {
  const root = realpathSync(tree)
  const folders = [root]
  let moved = 0
  const visit = (own: string, at: string, name: string) => {
    const child = path.join(own, name)
    if (!attempt(() => lstatSync(child))?.isDirectory()) return
    const place = path.join(at, name)
    if (place.length < folderPathMax) return folders.push(place)
    chmodSync(child, 0o700)
    const up = path.join(root, `.mayfly-deep-${moved++}`)
    renameSync(child, up)
    return folders.push(up)
  }
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    const folder = at
    inFolder(folder, root, (own) => namesInFolder(own).forEach((name) => visit(own, folder, name)))
  }
}

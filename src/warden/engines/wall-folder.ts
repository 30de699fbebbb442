import { randomBytes } from 'node:crypto'
import { chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { folderOwners } from './folder-owners.ts'
import { makeRemovable, removeHostileTree } from './hostile-folder.ts'

/** Independent of TMPDIR, so that the next warden finds folders of the last one. */
const BASE = '/tmp'

/** Id of a wall (`w`), of a template or another save (`t`), or of a root that walls share (`r`). */
export function newWallId(letter: 'w' | 't' | 'r'): string {
  return `${letter}${randomBytes(8).toString('hex')}`
}

/** Folder of a wall on the disk, named after the wall, so that a sweep finds it by the lease. */
export function wallFolder(wall: string): string {
  return path.join(BASE, `mayfly-${wall}`)
}

/** Throws EEXIST if another user made it: /tmp is world-writable. */
export function makeWallFolder(wall: string): string {
  const folder = wallFolder(wall)
  folderOwners.note(wall)
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (cause) {
    folderOwners.forget(wall)
    throw cause
  }
  return folder
}

/** Scratch folder of a whole program without a root of its own. It belongs to the wall's uid. */
export function makeScratch(wall: string, uid: number | undefined): void {
  const folder = makeWallFolder(wall)
  if (uid !== undefined) chownSync(folder, uid, uid)
}

/** Never follows a symlink. A folder that cannot be removed now is found by its lease later. */
export async function removeWallFolder(wall: string): Promise<void> {
  try {
    await removeHostileTree(wallFolder(wall))
    folderOwners.forget(wall)
  } catch {
    sweepWallFolder(wall)
  }
}

/** Removes the folder of a wall whose warden died. */
export function sweepWallFolder(wall: string): void {
  try {
    removeTree(wallFolder(wall))
    folderOwners.forget(wall)
  } catch {
    // /tmp is world-writable: another user may have made a folder of this name since.
  }
}

/**
 * Removes a tree also if it is deeper than a path can name, which only the synchronous rm can, or has folders that their
 * owner may not read. Root needs no rights, and changes nothing in a folder of another user.
 */
function removeTree(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true })
  } catch (error) {
    const uid = process.getuid?.()
    if (uid === 0 || lstatSync(folder).uid !== uid) throw error
    makeRemovable(folder)
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Removes folders of dead wardens whose leases are gone with their state folder; returns their number. */
export function sweepWallFolders(): number {
  return folderOwners.sweep(sweepWallFolder)
}

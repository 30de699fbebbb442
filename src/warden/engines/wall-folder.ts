import { chownSync, mkdirSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'

/** Independent of TMPDIR: the next warden has to find what the last one left. */
const BASE = '/tmp'

/** Folder of a wall on the disk, named after the wall, so that a sweep finds it by the lease. */
export function wallFolder(wall: string): string {
  return path.join(BASE, `mayfly-${wall}`)
}

/** Scratch folder of a whole program without a root of its own. It belongs to the wall's uid. */
export function makeScratch(wall: string, uid: number | undefined): void {
  const folder = wallFolder(wall)
  mkdirSync(folder, { mode: 0o700 })
  if (uid !== undefined) chownSync(folder, uid, uid)
}

/** Never follows a symlink. What cannot be removed now is found by its lease later. */
export async function removeWallFolder(wall: string): Promise<void> {
  await rm(wallFolder(wall), { recursive: true, force: true }).catch(() => undefined)
}

/** Removes the folder of a wall whose warden died. */
export function sweepWallFolder(wall: string): void {
  try {
    rmSync(wallFolder(wall), { recursive: true, force: true })
  } catch {
    // /tmp is world-writable: another user may have made a folder of this name since.
  }
}

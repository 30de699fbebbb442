import { chownSync, mkdirSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'

/** The same for every warden, whatever its environment says: the next one has to find what the last one left. */
const BASE = '/tmp'

/**
 * Scratch folder of a whole program without a root of its own: it belongs to the wall's uid and is named by the wall, so
 * that a sweep finds it by the lease.
 */
export function scratchOf(wall: string): string {
  return path.join(BASE, `mayfly-${wall}`)
}

export function makeScratch(wall: string, uid: number | undefined): void {
  const folder = scratchOf(wall)
  mkdirSync(folder, { mode: 0o700 })
  if (uid !== undefined) chownSync(folder, uid, uid)
}

/** Never follows a link. What cannot be removed now is found by its lease later. */
export async function removeScratch(wall: string): Promise<void> {
  await rm(scratchOf(wall), { recursive: true, force: true }).catch(() => undefined)
}

/** The same of a wall whose warden died. */
export function sweepScratch(wall: string): void {
  try {
    rmSync(scratchOf(wall), { recursive: true, force: true })
  } catch {
    // In a folder for everybody, it may be that of somebody else by now.
  }
}

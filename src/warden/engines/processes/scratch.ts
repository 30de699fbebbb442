import { chownSync, mkdirSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'

/** Independent of TMPDIR: the next warden has to find what the last one left. */
const BASE = '/tmp'

/**
 * Scratch folder of a whole program without a root of its own. It belongs to the wall's uid and is named after the wall,
 * so that a sweep finds it by the lease.
 */
export function scratchOf(wall: string): string {
  return path.join(BASE, `mayfly-${wall}`)
}

export function makeScratch(wall: string, uid: number | undefined): void {
  const folder = scratchOf(wall)
  mkdirSync(folder, { mode: 0o700 })
  if (uid !== undefined) chownSync(folder, uid, uid)
}

/** Never follows a symlink. What cannot be removed now is found by its lease later. */
export async function removeScratch(wall: string): Promise<void> {
  await rm(scratchOf(wall), { recursive: true, force: true }).catch(() => undefined)
}

/** Removes the scratch folder of a wall whose warden died. */
export function sweepScratch(wall: string): void {
  try {
    rmSync(scratchOf(wall), { recursive: true, force: true })
  } catch {
    // /tmp is world-writable: another user may have made a folder of this name since.
  }
}

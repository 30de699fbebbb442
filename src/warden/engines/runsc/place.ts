import { chownSync, mkdirSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'

/**
 * Folder of a wall: `config.json` of the bundle, runsc's state with the sentry's control socket, and the socket of its egress
 * path. Named by the wall, so that a sweep finds it by the lease; short, because the path of a socket holds 107 bytes.
 */
export interface WallFolder {
  readonly all: string
  readonly state: string
  readonly egress: string
}

/** Independent of TMPDIR: the next warden has to find what the last one left. */
const BASE = '/tmp'

export function folderOf(wall: string): WallFolder {
  const all = path.join(BASE, `mayfly-${wall}`)
  return { all, state: path.join(all, 'state'), egress: path.join(all, 'egress') }
}

/** Throws EEXIST if another user made it: /tmp is world-writable. */
export function makeFolder(folder: WallFolder, uid: number | undefined): void {
  const { all, state, egress } = folder
  mkdirSync(all, { mode: 0o700 })
  // The program sees the mode of the egress folder on the host, and needs to traverse it.
  for (const place of [state, egress]) mkdirSync(place, { mode: 0o755 })
  if (uid === undefined) return
  for (const place of [all, state, egress]) chownSync(place, uid, uid)
}

/** Never follows a symlink. What cannot be removed now is found by its lease later. */
export async function removeFolder(wall: string): Promise<void> {
  await rm(folderOf(wall).all, { recursive: true, force: true }).catch(() => undefined)
}

/** Removes the folder of a wall whose warden died. */
export function sweepFolder(wall: string): void {
  try {
    rmSync(folderOf(wall).all, { recursive: true, force: true })
  } catch {
    // /tmp is world-writable: another user may have made a folder of this name since.
  }
}

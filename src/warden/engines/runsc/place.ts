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

/** The same for every warden, whatever its environment says. */
const BASE = '/tmp'

export function folderOf(wall: string): WallFolder {
  const all = path.join(BASE, `mayfly-${wall}`)
  return { all, state: path.join(all, 'state'), egress: path.join(all, 'egress') }
}

/** Throws where somebody else has made it: in a folder for everybody a name may be taken. */
export function makeFolder(folder: WallFolder, uid: number | undefined): void {
  const { all, state, egress } = folder
  mkdirSync(all, { mode: 0o700 })
  // The folder of the egress path is served as it lies on the disk: the program has to be allowed through.
  for (const place of [state, egress]) mkdirSync(place, { mode: 0o755 })
  if (uid === undefined) return
  for (const place of [all, state, egress]) chownSync(place, uid, uid)
}

/** Never follows a link. What cannot be removed now is found by its lease later. */
export async function removeFolder(wall: string): Promise<void> {
  await rm(folderOf(wall).all, { recursive: true, force: true }).catch(() => undefined)
}

/** The same of a wall whose warden died. */
export function sweepFolder(wall: string): void {
  try {
    rmSync(folderOf(wall).all, { recursive: true, force: true })
  } catch {
    // In a folder for everybody, it may be that of somebody else by now.
  }
}

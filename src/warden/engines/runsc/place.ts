import { chownSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { makeWallFolder, wallFolder } from '../wall-folder.ts'

/**
 * Folder of a wall: `config.json` of the bundle, runsc's state with the sentry's control socket, and the socket of its
 * egress path. Short, because the path of a socket has at most 107 bytes.
 */
export interface WallFolder {
  readonly all: string
  readonly state: string
  readonly egress: string
}

export function runscFolderOf(wall: string): WallFolder {
  const all = wallFolder(wall)
  return { all, state: path.join(all, 'state'), egress: path.join(all, 'egress') }
}

/** Throws EEXIST if another user made it: /tmp is world-writable. */
export function makeRunscFolder(wall: string, uid: number | undefined): void {
  const { all, state, egress } = runscFolderOf(wall)
  makeWallFolder(wall)
  // The program sees the mode of the egress folder on the host, and needs to traverse it.
  for (const place of [state, egress]) mkdirSync(place, { mode: 0o755 })
  if (uid === undefined) return
  for (const place of [all, state, egress]) chownSync(place, uid, uid)
}

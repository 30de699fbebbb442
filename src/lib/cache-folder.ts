import { chmodSync, lstatSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { attempt } from './attempt.ts'
import { makeFolder } from './make-folder.ts'

const CACHE_OF_ROOT = '/var/cache/mayfly'

/** Throws RangeError for a user without HOME whose uid has no entry in /etc/passwd. */
function cacheOfUser(): string {
  if (process.getuid?.() === 0) return CACHE_OF_ROOT
  const base = process.env['XDG_CACHE_HOME'] || cacheOfHome()
  if (base) return path.join(base, 'mayfly')
  throw new RangeError('Cannot determine the cache folder: set "HOME" or "XDG_CACHE_HOME"')
}

const cacheOfHome = () => attempt(() => path.join(os.homedir(), '.cache'))

/** Cache folder of this user. Throws as `cacheOfUser` does. */
export function cacheFolder(name: string): string {
  return path.join(cacheOfUser(), name)
}

/**
 * Cache folders that a Mayfly of this user takes code from: root's, if a warden of root serves it, and its own, where root too
 * has compiled code (`bin/cache-folder.js`).
 */
export function cacheFolders(): readonly string[] {
  const bases = [process.env['XDG_CACHE_HOME'] || undefined, cacheOfHome()]
  const own = bases.flatMap((base) => (base === undefined ? [] : path.resolve(base, 'mayfly')))
  return [...new Set([CACHE_OF_ROOT, ...own])]
}

/** Folder of compiled code where the cache folder cannot be used. */
export function temporaryCache(): string {
  return path.join(os.tmpdir(), `mayfly-compiled-${process.getuid?.() ?? 'user'}`)
}

/**
 * Creates a cache folder with this mode; an existing one stays unchanged. Root's walls run under uids of their own and
 * open prepared files by path, so every uid can pass through root's cache, whoever creates it first and with whatever
 * umask. Folders of one uid in it protect themselves by their own mode.
 */
export function makeCacheFolder(folder: string, mode: number): void {
  if (folder.startsWith(`${CACHE_OF_ROOT}/`)) {
    makeFolder(CACHE_OF_ROOT, MODE_OF_ROOT)
    setMode(CACHE_OF_ROOT, MODE_OF_ROOT)
  }
  makeFolder(folder, mode)
}

const MODE_OF_ROOT = 0o755

function setMode(folder: string, mode: number): void {
  const { uid, mode: given } = lstatSync(folder)
  if (uid === process.getuid?.() && (given & 0o777) !== mode) chmodSync(folder, mode)
}

/** Folder of root's Mayfly for layers that a process of this uid creates. */
export function layerFolderFor(uid: number): string {
  return path.join(CACHE_OF_ROOT, `layers-${uid}`)
}

/** Layer folder of this process. Throws as `cacheFolder` does. */
export function layerFolder(): string {
  const uid = process.getuid?.()
  return uid === 0 ? layerFolderFor(0) : cacheFolder('layers')
}

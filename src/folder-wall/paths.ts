import { lstatSync, realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'

/** Folders that relative paths start from: the current one, and HOME for `~`. */
export interface PathOrigin {
  readonly folder: string
  readonly home: string | undefined
}

/** Resolves a written path to an absolute one. Throws MayflyError USAGE for `~` without a HOME. */
export function absolutePath(written: string, { folder, home }: PathOrigin): string {
  if (written !== '~' && !written.startsWith('~/')) return resolve(folder, written)
  if (home !== undefined) return join(home, written.slice(1))
  throw new MayflyError('USAGE', `Cannot read "${written}": HOME is not set`)
}

/** Canonical path; undefined if it does not exist. */
export function existingPath(absolute: string): string | undefined {
  return attempt(() => realpathSync(absolute))
}

export function isFolder(place: string): boolean {
  return lstatSync(place, { throwIfNoEntry: false })?.isDirectory() ?? false
}

import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { attempt } from '../lib/attempt.ts'
import { isBelow } from '../lib/is-below.ts'
import { realPath } from '../lib/real-path.ts'

/**
 * Path of a program in PATH or in the system's own folders. Skipped are relative entries of PATH, and those of a project:
 * `node_modules/.bin`, which npm and npx put first, and folders below the current one, such as `.venv/bin`. Code of the
 * project may write there, and Mayfly runs what it finds outside of all walls.
 */
export function findProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter(path.isAbsolute)
  return [...folders.filter((folder) => !isOfProject(folder)), '/usr/sbin', '/sbin']
    .map((folder) => path.join(folder, name))
    .find(isExecutable)
}

function isOfProject(folder: string): boolean {
  const real = realPath(folder)
  if ([folder, real].some((one) => /\/node_modules\/\.bin\/*$/.test(one))) return true
  const here = attempt(() => process.cwd())
  return here !== undefined && !isAboveHome(here) && isBelow(real, here)
}

/** True for HOME and folders above it: programs below it are the user's own. */
function isAboveHome(folder: string): boolean {
  const home = process.env['HOME']
  return folder === '/' || (home !== undefined && isBelow(realPath(home), folder))
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

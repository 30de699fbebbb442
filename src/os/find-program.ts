import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { attempt } from '../lib/attempt.ts'
import { isBelow } from '../lib/is-below.ts'
import { realPath } from '../lib/real-path.ts'

/** Search path of programs and current folder; by default those of this process. */
export interface ProgramSearch {
  readonly PATH: string | undefined
  readonly HOME: string | undefined
  /** Current folder; undefined if it was removed. */
  readonly folder: string | undefined
}

/**
 * Path of a program in PATH or in the system's own folders. Skipped are relative entries of PATH, and those of a project:
 * `node_modules/.bin`, which npm and npx put first, and folders below the current one, such as `.venv/bin`. Code of the
 * project may write there, and Mayfly runs what it finds outside of all walls.
 */
export function findProgram(name: string, search = ownSearch()): string | undefined {
  const folders = (search.PATH ?? '').split(path.delimiter).filter(path.isAbsolute)
  return [...folders.filter((folder) => !isOfProject(folder, search)), '/usr/sbin', '/sbin']
    .map((folder) => path.join(folder, name))
    .find(isExecutable)
}

function ownSearch(): ProgramSearch {
  const { PATH, HOME } = process.env
  return { PATH, HOME, folder: attempt(() => process.cwd()) }
}

function isOfProject(folder: string, { HOME, folder: here }: ProgramSearch): boolean {
  const real = realPath(folder)
  if ([folder, real].some((one) => /\/node_modules\/\.bin\/*$/.test(one))) return true
  return here !== undefined && !isAbove(here, HOME) && isBelow(real, here)
}

/** True for HOME and folders above it: programs below it are the user's own. */
function isAbove(folder: string, home: string | undefined): boolean {
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

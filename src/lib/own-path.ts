import path from 'node:path'
import { attempt } from './attempt.ts'
import { isBelow } from './is-below.ts'
import { realPath } from './real-path.ts'

/** Search path of programs and current folder; by default those of this process. */
export interface ProgramSearch {
  readonly PATH: string | undefined
  readonly HOME: string | undefined
  /** Current folder; undefined if it was removed. */
  readonly folder: string | undefined
}

/**
 * Folders of PATH without relative entries, and without those of a project: `node_modules/.bin`, which npm and npx put first, and
 * folders below the current one, such as `.venv/bin`. Code of the project may write there, and Mayfly runs what it finds outside
 * of all walls.
 */
export function ownFolders(search = ownSearch()): readonly string[] {
  const folders = (search.PATH ?? '').split(path.delimiter).filter(path.isAbsolute)
  return folders.filter((folder) => !isOfProject(folder, search))
}

/** PATH of programs that Mayfly starts outside of all walls: an empty one would stand for their current folder. */
export function ownPath(search = ownSearch()): string {
  return ownFolders(search).join(path.delimiter) || '/usr/bin:/bin'
}

/** Variables of this process for such a program. */
export const ownEnvironment = (): NodeJS.ProcessEnv => ({ ...process.env, PATH: ownPath() })

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

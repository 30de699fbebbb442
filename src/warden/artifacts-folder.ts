import { constants, existsSync, fchownSync, lstatSync, mkdirSync, openSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { lastFlag } from '../lib/last-flag.ts'
import { makeFolder } from '../lib/make-folder.ts'

const FLAG = '--artifacts'
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY

/**
 * Opens the folder of `run --artifacts` while this process is root, for a child that is not. A missing folder is created
 * and chowned to `uid`; an existing one keeps its owner. Undefined without the flag, or if the folder cannot be opened:
 * the child then reports why.
 */
export function openArtifacts(argv: readonly string[], uid: number): number | undefined {
  const folder = lastFlag(argv, FLAG)
  if (argv.find((word) => !word.startsWith('-')) !== 'run' || !folder) return undefined
  try {
    if (hasForeignLink(folder)) return undefined
    if (existsSync(folder)) return openSync(folder, FOLDER)
    makeFolder(dirname(folder), 0o755)
    mkdirSync(folder, 0o755)
    const fd = openSync(folder, FOLDER | constants.O_NOFOLLOW)
    fchownSync(fd, uid, uid)
    return fd
  } catch {
    return undefined
  }
}

/** A symlink of another user in the path would have root create and chown a folder of that user's choice. */
function hasForeignLink(folder: string): boolean {
  for (let at = resolve(folder); at !== dirname(at); at = dirname(at)) {
    const facts = lstatSync(at, { throwIfNoEntry: false })
    if (facts?.isSymbolicLink() && facts.uid !== 0) return true
  }
  return false
}

import { constants } from 'node:fs'
import { open, readlink, type FileHandle } from 'node:fs/promises'
import { MayflyError } from '../contract/error.ts'
import { isBelow } from '../lib/is-below.ts'

/**
 * Opens paths below a granted folder only.
 *
 * Mechanism: each component is opened relative to the fd of its parent (via /proc/self/fd) with O_NOFOLLOW, so there
 * is no TOCTOU window: opening is the check. Only the granted folder's own path is resolved with symlinks, because
 * the operator wrote it.
 */
const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants

/** End of a path: the open parent folder and the last name; undefined for the granted folder itself. */
export interface OpenParent extends AsyncDisposable {
  readonly folder: FileHandle
  readonly name: string | undefined
}

const pathCharactersMax = 4096
const stepsMax = 64

/** Granted folders, and folders that are excluded even if a grant covers them. */
export interface FolderGrants {
  readonly granted: readonly string[]
  /** Real paths, symlinks resolved. */
  readonly closed: readonly string[]
}

/** Throws MayflyError FORBIDDEN for a path outside the grants or through a symlink. */
export async function openParent(path: string, bounds: FolderGrants): Promise<OpenParent> {
  const granted = isPlain(path) ? bounds.granted.find((one) => isBelow(path, one)) : undefined
  if (granted === undefined) throw notGranted(path)
  const steps = path.slice(granted.length).split('/').filter(Boolean)
  if (steps.length > stepsMax) throw notGranted(path)
  const name = steps.pop()
  let folder = await openFolder(granted, O_DIRECTORY, path)
  try {
    for (const step of steps) {
      const inner = await openFolder(below(folder, step), O_DIRECTORY | O_NOFOLLOW, path)
      await folder.close()
      folder = inner
    }
    await mustBeOpen(folder, bounds, path)
  } catch (thrown) {
    await folder.close()
    throw thrown
  }
  const last = folder
  return { folder: last, name, [Symbol.asyncDispose]: () => last.close() }
}

/**
 * Opens a regular file with a link count of 1: a hard link may be another user's file; O_NONBLOCK, because a FIFO
 * would block for ever. Throws MayflyError FORBIDDEN or NOT_FOUND.
 */
export async function openFile({ folder, name }: OpenParent, path: string): Promise<FileHandle> {
  if (name === undefined) throw notFile(path)
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
  const file = await open(below(folder, name), flags).catch((thrown: unknown) => {
    throw refusalOf(thrown, path)
  })
  const stat = await file.stat()
  if (stat.isFile() && stat.nlink === 1) return file
  await file.close()
  throw notFile(path)
}

/** Opens a folder at a path, or the granted folder itself. */
export async function openInner(
  { folder, name }: OpenParent,
  bounds: FolderGrants,
  path: string,
): Promise<FileHandle> {
  if (name === undefined) return openFolder(ofHandle(folder), O_DIRECTORY, path)
  const inner = await openFolder(below(folder, name), O_DIRECTORY | O_NOFOLLOW, path)
  try {
    await mustBeOpen(inner, bounds, path)
    return inner
  } catch (thrown) {
    await inner.close()
    throw thrown
  }
}

/** Checks the kernel's real path of the fd, however it was reached. */
async function mustBeOpen(
  folder: FileHandle,
  { closed }: FolderGrants,
  path: string,
): Promise<void> {
  const real = await readlink(ofHandle(folder))
  if (closed.some((one) => isBelow(real, one))) throw notGranted(path)
}

/** Path of an entry relative to its folder's fd. */
export function below(folder: FileHandle, name: string): string {
  return `${ofHandle(folder)}/${name}`
}

export function ofHandle(folder: FileHandle): string {
  return `/proc/self/fd/${folder.fd}`
}

export function notFile(path: string): MayflyError {
  return new MayflyError('FORBIDDEN', `Cannot use "${shown(path)}": it is not a regular file`)
}

async function openFolder(path: string, flags: number, asked: string): Promise<FileHandle> {
  try {
    return await open(path, O_RDONLY | flags)
  } catch (thrown) {
    throw refusalOf(thrown, asked)
  }
}

function refusalOf(thrown: unknown, path: string): MayflyError {
  const { code } = thrown as { readonly code?: string }
  if (code === 'ENOENT') return new MayflyError('NOT_FOUND', `Cannot find "${shown(path)}"`)
  return new MayflyError('FORBIDDEN', `Cannot open "${shown(path)}": ${code ?? 'it is refused'}`)
}

export function notGranted(path: string): MayflyError {
  return new MayflyError('FORBIDDEN', `Cannot reach "${shown(path)}": no such folder is granted`)
}

/** Absolute, without `.`, `..`, empty components or NUL. */
function isPlain(path: string): boolean {
  return (
    path.startsWith('/') && path.length <= pathCharactersMax && !/\0|\/\.{0,2}(\/|$)/.test(path)
  )
}

const shownMax = 200

function shown(path: string): string {
  return path.length > shownMax ? `${path.slice(0, shownMax).toWellFormed()}…` : path
}

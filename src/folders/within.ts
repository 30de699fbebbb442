import { constants } from 'node:fs'
import { open, readlink, type FileHandle } from 'node:fs/promises'
import { MayflyError } from '../contract/error.ts'

/**
 * Opens what lies below a granted folder, and nothing else. Each step is opened from the one before it, by its
 * descriptor, and no link is followed: what a path means cannot change between a check and its use, for there is no
 * check but the opening itself. Only the folder's own path is resolved as usual: it is the operator's.
 */
const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants

/** Where a path ends: the open folder it is in, and its name there; the folder itself has none. */
export interface Place extends AsyncDisposable {
  readonly folder: FileHandle
  readonly name: string | undefined
}

const pathCharactersMax = 4096
const stepsMax = 64

/** What is granted, and what is not for anybody, whatever is granted: a system's own folders, and Mayfly's. */
export interface Bounds {
  readonly granted: readonly string[]
  /** As they really are. */
  readonly closed: readonly string[]
}

/** Throws MayflyError FORBIDDEN for a path that lies in none of the folders, or leads through a link. */
export async function placeOf(path: string, bounds: Bounds): Promise<Place> {
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
 * A regular file with one name. One with several may be a file of somebody else's by another name, a pipe would wait
 * for ever. Throws MayflyError FORBIDDEN or NOT_FOUND.
 */
export async function openFile({ folder, name }: Place, path: string): Promise<FileHandle> {
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

/** Opens a folder below a place, or the place itself. */
export async function openInner(
  { folder, name }: Place,
  bounds: Bounds,
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

/** Where it is by the kernel's own word, by whatever path it was reached. */
async function mustBeOpen(folder: FileHandle, { closed }: Bounds, path: string): Promise<void> {
  const real = await readlink(ofHandle(folder))
  if (closed.some((one) => isBelow(real, one))) throw notGranted(path)
}

/** The path of an entry, from its folder's descriptor. */
export function below(folder: FileHandle, name: string): string {
  return `${ofHandle(folder)}/${name}`
}

export function ofHandle(folder: FileHandle): string {
  return `/proc/self/fd/${folder.fd}`
}

export function notFile(path: string): MayflyError {
  return new MayflyError('FORBIDDEN', `Cannot use "${shown(path)}": it is no plain file`)
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

/** Absolute, with no step that could lead elsewhere. */
function isPlain(path: string): boolean {
  return (
    path.startsWith('/') && path.length <= pathCharactersMax && !/\0|\/\.{0,2}(\/|$)/.test(path)
  )
}

function isBelow(path: string, folder: string): boolean {
  return folder === '/' || path === folder || path.startsWith(`${folder}/`)
}

const shownMax = 200

function shown(path: string): string {
  return path.length > shownMax ? `${path.slice(0, shownMax).toWellFormed()}…` : path
}

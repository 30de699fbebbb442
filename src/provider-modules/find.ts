import { lstatSync, readdirSync, type BigIntStats } from 'node:fs'
import { join } from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import { examinePath, type PathTrust, type TrustedPath } from '../lib/trusted-path.ts'
import { isBelow } from '../lib/is-below.ts'
import { realPath } from '../lib/real-path.ts'

/**
 * Finds provider modules: files of the configured folder, and files configured by path. A module is code that runs in
 * the server, so it is accepted only if no user except root and the user of this process could have written it, and
 * never from a folder that a job reads or writes.
 */
export interface ModuleSources {
  readonly folder?: string | undefined
  readonly modules: readonly string[]
}

export interface ModuleTrust {
  readonly owners: PathTrust['owners']
  /** Folders of jobs: no module is loaded from there. */
  readonly jobFolders: readonly string[]
}

/** A module file; one with a fault is listed but not loaded. */
export interface ModuleFile {
  /** Absolute, as configured. */
  readonly path: string
  /** Changes when the file changes. */
  readonly stamp: string
  /** Real path, with symlinks resolved; empty for a fault. */
  readonly real: string
  readonly fault?: MayflyError
}

const modulesMax = 64
const bytesMax = 2 ** 20
const moduleName = /^[A-Za-z0-9](?:[\w.-]*[\w-])?\.(?:js|mjs|ts|mts)$/
const notModules = /\.d\.m?ts$|\.test\.m?[jt]s$/

/** Modules of both sources, explicitly configured ones first; each path once. Never throws. */
export function findModules(
  { folder, modules }: ModuleSources,
  trust: ModuleTrust,
): readonly ModuleFile[] {
  const named = [...new Set(modules)].map((path) => findOne(path, trust))
  if (folder === undefined) return named
  const known = new Set(modules)
  return [...named, ...findIn(folder, trust).filter(({ path }) => !known.has(path))]
}

function findIn(folder: string, trust: ModuleTrust): readonly ModuleFile[] {
  try {
    const { real, stats } = trusted(folder, 'folder', trust)
    if (!stats.isDirectory()) throw broken(folder, 'it is no folder')
    const names = readdirSync(real)
      .filter((name) => moduleName.test(name) && !notModules.test(name))
      .sort()
    const found = names.slice(0, modulesMax).map((name) => findOne(join(folder, name), trust))
    if (names.length <= modulesMax) return found
    const many = `${names.length} modules are in it, and at most ${modulesMax} are loaded`
    return [...found, faulty(folder, broken(folder, many, 'Remove some'))]
  } catch (thrown) {
    return [faulty(folder, asFault(folder, thrown))]
  }
}

function findOne(path: string, trust: ModuleTrust): ModuleFile {
  try {
    const { real, stats } = trusted(path, 'file', trust)
    if (!stats.isFile()) throw broken(path, 'it is no file')
    if (stats.size > bytesMax) throw broken(path, `it is larger than ${bytesMax} bytes`)
    return { path, real, stamp: stampOf(lstatSync(real, { bigint: true })) }
  } catch (thrown) {
    return faulty(path, asFault(path, thrown))
  }
}

/**
 * Resolves a path. Throws MayflyError PROVIDER_UNTRUSTED if other users could write it, or if it is in a job's folder.
 */
export function trusted(
  path: string,
  kind: PathTrust['kind'],
  { owners, jobFolders }: ModuleTrust,
): Extract<TrustedPath, { isTrusted: true }> {
  const found = examinePath(path, { owners, kind })
  if (!found.isTrusted)
    throw new MayflyError('PROVIDER_UNTRUSTED', `${cannotUse(path)}: ${found.reason}`, {
      hint: found.fix,
      details: { file: path, at: found.at },
    })
  const folders = jobFolders.flatMap((folder) => [folder, realPath(folder)])
  const at = found.names.find((name) => folders.some((folder) => isBelow(name, folder)))
  if (at === undefined) return found
  throw new MayflyError('PROVIDER_UNTRUSTED', `${cannotUse(path)}: "${at}" is in a job's folder`, {
    hint: 'Move it to a folder that no job reads or writes',
    details: { file: path, at },
  })
}

export function cannotUse(path: string): string {
  return `Cannot use the provider module "${path}"`
}

function broken(path: string, reason: string, hint = 'Name a file or a folder that is there') {
  const details = { file: path }
  return new MayflyError('PROVIDER_BROKEN', `${cannotUse(path)}: ${reason}`, { hint, details })
}

function asFault(path: string, thrown: unknown): MayflyError {
  if (thrown instanceof MayflyError) return thrown
  const { code } = thrown as NodeJS.ErrnoException
  return broken(path, code === 'ENOENT' ? 'it does not exist' : messageOf(thrown))
}

function faulty(path: string, fault: MayflyError): ModuleFile {
  return { path, real: '', stamp: `fault: ${fault.message}`, fault }
}

/** Covers content, owner and mode (ctime), and a replaced file (inode). */
function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':')
}

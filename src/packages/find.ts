import { accessSync, constants, lstatSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import path from 'node:path'
import type { LayerKind } from '../contract/layer.ts'
import { MayflyError } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'
import { isBelow } from '../lib/is-below.ts'
import { asOwner, statAsOwner } from '../lib/owner-files.ts'
import { whyUnreadable, type WhyUnreadable } from '../lib/why-unreadable.ts'

/** A folder of packages on this machine. */
export interface PackageSource {
  readonly kind: LayerKind
  /** Real path, without symlinks. */
  readonly folder: string
  /** Bytes of the lock file the folder was installed from. */
  readonly lock?: Buffer
  /** Python version of the installation, such as `3.11`. */
  readonly python?: string
}

const LOCKS = [
  'package-lock.json',
  'npm-shrinkwrap.json',
  'pnpm-lock.yaml',
  'yarn.lock',
  'bun.lock',
]
const LOCK_BYTES_MAX = 64 * 2 ** 20
/** Usual names of virtual environments. */
const ENVIRONMENTS = ['.venv', 'venv']

/**
 * Finds packages at or in a folder: a `node_modules`, a virtual environment, a site-packages, a folder of wheels, or a
 * project with one of the first two. Throws MayflyError USAGE if there are none.
 */
export function findPackages(given: string): PackageSource {
  const { folder, found } = lookedAt(given)
  if (found) return found
  throw unusable(given, {
    because: folder
      ? 'it has no node_modules, no virtual environment and no wheels'
      : 'it is no folder',
    hint: 'Name a project, its node_modules, a virtual environment, or a folder with .whl files',
  })
}

function lookedAt(given: string) {
  try {
    const folder = folderAt(given)
    return { folder, found: folder && (packagesAt(folder) ?? packagesIn(folder)) }
  } catch (cause) {
    throw unusable(given, whyUnreadable(given, cause), cause)
  }
}

function unusable(given: string, { because, ...hint }: WhyUnreadable, cause?: unknown) {
  const message = `Cannot use packages from "${given}": ${because}`
  return new MayflyError('USAGE', message, { ...hint, ...(cause !== undefined && { cause }) })
}

/**
 * Nearest `node_modules`, in the folder or above, like Node's resolution. Throws MayflyError USAGE for one that may not be looked at:
 * none above would be the right one.
 */
export function nearestModules(from: string): PackageSource | undefined {
  for (let folder = path.resolve(from); ; folder = path.dirname(folder)) {
    const given = path.join(folder, 'node_modules')
    const denial = denialOf(given)
    if (denial) throw unusable(given, whyUnreadable(given, denial), denial)
    const modules = realFolder(given, folder)
    const found = modules && packagesAt(modules)
    if (found) return found.kind === 'node' ? found : undefined
    if (folder === path.dirname(folder)) return undefined
  }
}

function packagesAt(folder: string): PackageSource | undefined {
  if (path.basename(folder) === 'node_modules') {
    const lock = lockOf(folder)
    return { kind: 'node', folder, ...(lock && { lock }) }
  }
  if (isFile(path.join(folder, 'pyvenv.cfg'))) return installedIn(folder)
  if (/^(?:site|dist)-packages$/.test(path.basename(folder))) return { kind: 'python', folder }
  const isWheels = namesIn(folder).some((name) => name.endsWith('.whl'))
  return isWheels ? { kind: 'wheels', folder } : undefined
}

function packagesIn(project: string): PackageSource | undefined {
  for (const name of ['node_modules', ...ENVIRONMENTS]) {
    const folder = realFolder(path.join(project, name), project)
    const found = folder && packagesAt(folder)
    if (found) return found
  }
  return undefined
}

function installedIn(environment: string): PackageSource | undefined {
  const lib = path.join(environment, 'lib')
  const versions = realFolder(lib, environment)
    ? namesIn(lib).filter((name) => /^python3\.\d+$/.test(name))
    : []
  for (const version of versions) {
    const folder = realFolder(path.join(lib, version, 'site-packages'), environment)
    if (folder) return { kind: 'python', folder, python: version.slice('python'.length) }
  }
  return undefined
}

/**
 * Lock of the installed packages: npm's hidden lock file inside lists the installed versions, the lock file beside the
 * folder the intended ones.
 */
function lockOf(modules: string): Buffer | undefined {
  const beside = LOCKS.map((name) => path.join(path.dirname(modules), name))
  for (const file of [path.join(modules, '.package-lock.json'), ...beside])
    if (isFile(file) && (statAsOwner(file)?.size ?? Infinity) <= LOCK_BYTES_MAX)
      return asOwner(file, (at) => readFileSync(at))
  return undefined
}

/**
 * Real path of a folder that was found rather than named; it must be inside `within`, because a symlink in an untrusted project
 * could otherwise mount any folder of this user.
 */
function realFolder(given: string, within: string): string | undefined {
  const [folder, above] = [attempt(() => folderAt(given)), attempt(() => folderAt(within))]
  return folder && above && folder !== above && isBelow(folder, above) ? folder : undefined
}

/** Real path of a folder; undefined for what is none. Throws the errors of realpath(3). */
function folderAt(given: string): string | undefined {
  const folder = asOwner(given, (at) => realpathSync(at))
  return statAsOwner(folder)?.isDirectory() ? folder : undefined
}

/** Error of a folder whose entries this process may not look at. */
function denialOf(given: string): Error | undefined {
  try {
    asOwner(given, (at) => accessSync(at, constants.R_OK | constants.X_OK))
    // access(2) asks for the real uid.
    if (process.geteuid?.() !== process.getuid?.()) namesIn(given)
    return undefined
  } catch (thrown) {
    const error = thrown as NodeJS.ErrnoException
    return error.code === 'EACCES' ? error : undefined
  }
}

const namesIn = (folder: string) => asOwner(folder, (at) => readdirSync(at))

function isFile(place: string): boolean {
  return attempt(() => asOwner(place, (at) => lstatSync(at), false).isFile()) === true
}

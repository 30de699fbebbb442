import { lstatSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { JobRequest } from '../contract/job.ts'
import { attempt } from '../lib/attempt.ts'
import { parseJson } from '../lib/parse-json.ts'
import { asOwner } from '../lib/owner-files.ts'
import { layerFolder } from '../lib/cache-folder.ts'
import { findPackages, nearestModules, type PackageSource } from '../packages/find.ts'
import { acquirePackages } from '../packages/acquire.ts'
import type { AcquiredLayer } from '../packages/layers.ts'
import { mayMakeLayers } from './attachment.ts'
import { importsPackage, namesIn, RELATIVE } from './package-imports.ts'
import { roleOf } from './role.ts'

export interface PackagesOptions {
  /** Main file; `-`: stdin. */
  readonly file: string
  readonly request: JobRequest
  /** Value of `--packages`; false for `--no-packages`. Without either, signed code gets none: no signature covers them. */
  readonly asked: readonly string[] | false | undefined
  readonly note: (text: string) => void
}

/** Packages in use by one run. */
export interface OpenPackages extends Disposable {
  /** Request with the language that supports packages, and with the package.json that sets the module type. */
  readonly request: JobRequest
  readonly layers: readonly AcquiredLayer[]
}

const SYSTEM_PYTHON = '/usr/bin/python3'
const PACKAGE_JSON_BYTES_MAX = 2 ** 20
/** Maximum of omitted files named. */
const NAMED_MAX = 5
const inNode: ReadonlySet<JobRequest['language']> = new Set(['node', 'js', 'ts', undefined])

/**
 * Packages of a program: those of `--packages`, else the nearest `node_modules` if the source imports a package.
 * Throws MayflyError USAGE.
 */
export async function openPackages(given: PackagesOptions): Promise<OpenPackages> {
  const { request, note } = given
  const sources = sourcesOf(given)
  if (sources.length === 0) return { request, layers: [], [Symbol.dispose]: () => {} }
  mayMakeLayers()
  const held = await acquirePackages('default', sources, folderOfLayers(), (source, layer) => {
    note(`${saysWhat(source, layer)}${saysLeft(layer)}`)
    warnOfVersion(source, note)
  })
  return {
    request: asRun(given, sources),
    layers: held.layers,
    [Symbol.dispose]: () => held[Symbol.dispose](),
  }
}

/** Layer folder of this process. Throws MayflyError STATE. */
export function folderOfLayers(): string {
  try {
    return roleOf()?.layers ?? layerFolder()
  } catch (cause) {
    throw new MayflyError('STATE', 'Cannot store packages: no cache folder is known', {
      hint: 'Set XDG_CACHE_HOME, or use --no-packages',
      cause,
    })
  }
}

function sourcesOf({ file, request, asked, note }: PackagesOptions): readonly PackageSource[] {
  if (asked === false) return []
  if (asked) return asked.map(findPackages)
  const { language } = request
  const hasOwn = request.files?.some(({ path: place }) => /^(?:\.\/)*node_modules\//.test(place))
  if (file === '-' || hasOwn || !inNode.has(language)) return []
  const from = path.dirname(path.resolve(file))
  // Closed packages matter only to a source that imports a package.
  const found = importsPackage(request.code ?? '')
    ? nearestModules(from)
    : attempt(() => nearestModules(from))
  if (!found || !needsPackages(request, found.folder)) return []
  if (request.signature === undefined) return [found]
  note(`Packages: ${found.folder} is left out: no signature covers it (--packages brings it)`)
  return []
}

const SOURCE = /\.[cm]?[jt]sx?$/
/**
 * True if the main source imports a package, or if a relatively imported file may. In such files only declared
 * dependencies count: a bundled library names others in branches it never takes.
 */
function needsPackages({ code = '', files = [] }: JobRequest, modules: string): boolean {
  if (importsPackage(code)) return true
  if (!RELATIVE.test(code)) return false
  const declared = declaredDependencies(modules)
  return files.some(
    ({ path: place, content, encoding }) =>
      SOURCE.test(place) &&
      encoding !== 'base64' &&
      namesIn(content ?? '').some((name) => declared.has(name)),
  )
}

/** Dependencies declared by the project of a `node_modules`. */
function declaredDependencies(modules: string): ReadonlySet<string> {
  try {
    const project: unknown = parseJson(
      textOf(path.join(path.dirname(modules), 'package.json')) ?? '{}',
    )
    const { dependencies = {}, devDependencies = {} } = project as Record<string, object>
    return new Set([...Object.keys(dependencies), ...Object.keys(devDependencies)])
  } catch {
    return new Set()
  }
}

/** Sets the language to Node, the only one that finds Node packages. Signed code gets no file that no signature covers. */
function asRun({ request, note }: PackagesOptions, sources: readonly PackageSource[]): JobRequest {
  const node = sources.find(({ kind }) => kind === 'node')
  if (!node || !inNode.has(request.language)) return request
  const { files = [] } = request
  const project = path.join(path.dirname(node.folder), 'package.json')
  const isBrought = files.some(({ path: place }) => path.normalize(place) === 'package.json')
  const own = isBrought ? undefined : textOf(project)
  if (own === undefined) return { ...request, language: 'node' }
  if (request.signature !== undefined) {
    const brings = `sign and run with --file ${project}=package.json to bring it`
    note(`Packages: ${project} is left out: no signature covers it (${brings})`)
    return { ...request, language: 'node' }
  }
  return { ...request, language: 'node', files: [...files, { path: 'package.json', content: own }] }
}

function textOf(file: string): string | undefined {
  // lstat: in an untrusted project this may be a symlink to any file of this user.
  const facts = attempt(() => asOwner(file, (at) => lstatSync(at), false))
  if (!facts?.isFile() || facts.size > PACKAGE_JSON_BYTES_MAX) return undefined
  return asOwner(file, (at) => readFileSync(at, 'utf8'), false)
}

function saysWhat({ folder }: PackageSource, { layer, isReused }: AcquiredLayer): string {
  const size = `${layer.files} files, ${(layer.bytes / 1e6).toFixed(1)} MB`
  const how = isReused ? 'kept from before' : 'copied once'
  return `Packages: ${folder} (${size}, ${how}; --no-packages leaves them out)`
}

function saysLeft({ omitted }: AcquiredLayer): string {
  if (omitted.length === 0) return ''
  const named = omitted
    .slice(0, NAMED_MAX)
    .map(({ path: place, because }) => `${JSON.stringify(place)} (${because})`)
  const more = omitted.length - named.length
  return `; left out ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** Native extensions need the same Python version. */
function warnOfVersion({ python }: PackageSource, note: (text: string) => void): void {
  const here = systemPython()
  if (python !== undefined && here !== undefined && python !== here)
    note(`Packages: installed for Python ${python}, and run by Python ${here}: native ones fail`)
}

function systemPython(): string | undefined {
  return attempt(() => /python(3\.\d+)$/.exec(readlinkSync(SYSTEM_PYTHON))?.[1])
}

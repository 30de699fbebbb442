import { cells } from './documents.ts'

/** Entry of a package in package-lock.json. */
export interface Locked {
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly optional?: boolean
  readonly hasInstallScript?: boolean
  readonly resolved?: string
  readonly dependencies?: Readonly<Record<string, string>>
}

export interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly allowScripts?: Readonly<Record<string, boolean>>
}

export type Lock = Readonly<Record<string, Locked>>

const licences = new Set([
  'MIT',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
])
/**
 * Licences, install scripts and sources of everything that is there when Mayfly runs, on any system: what is installed with
 * its package, and what is joined into it. The binaries of `isolated-vm` are taken, and nothing of its script.
 */
export function lockFaults(lock: Lock, joined: readonly string[]): readonly string[] {
  const installed = new Set(runtime(lock))
  const all = [...installed, ...withNeeded(lock, joined).filter((one) => !installed.has(one))]
  return all.flatMap(([name, one]) => [
    ...(licences.has(one.license ?? '') ? [] : [`${name}: licence "${one.license}"`]),
    ...(one.hasInstallScript && name !== 'isolated-vm' ? [`${name}: install script`] : []),
    ...(one.resolved ? [`${name}: the lock file names the registry it came from`] : []),
  ])
}

/** Install scripts that npm would run here: of each package that has one it is told not to. */
export function scriptFaults({ allowScripts = {} }: Manifest, lock: Lock): readonly string[] {
  return entriesOf(lock)
    .filter(([name, { hasInstallScript }]) => hasInstallScript && allowScripts[name] !== false)
    .map(([name]) => `${name}: its install script is not denied`)
}

/** Packages that the document lists as joined into the npm package. */
export function joinedPackages(document: string): readonly string[] {
  const [, section = ''] = document.split(/^## Joined into the package$/m)
  const [table = ''] = section.split(/^## /m)
  return [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name!)
}

/** Counts of packages to install, alone and with those that they need on any system, above those that the document states. */
export function countFaults(manifest: Manifest, lock: Lock, document: string): readonly string[] {
  const stated = /At most (\d+) packages, (\d+) with those that they need/.exec(document)
  const [own = 0, all = 0] = (stated ?? []).slice(1).map(Number)
  const count = Object.keys(manifest.dependencies ?? {}).length
  const needed = runtime(lock).filter(([, { optional }]) => !optional).length
  return [
    ...(count > own ? [`${count} packages, not ${own}`] : []),
    ...(needed > all ? [`${needed} packages with those that they need, not ${all}`] : []),
  ]
}

/** Dependencies without a line in docs/dependencies.md, and lines without a dependency. */
export function dependencyFaults(manifest: Manifest, document: string): readonly string[] {
  const rows = document.split('\n').filter((line) => line.startsWith('| `'))
  const explained = rows.map((line) => cells(line)[0]?.replaceAll('`', '') ?? '')
  const used = Object.keys({
    ...manifest.dependencies,
    ...manifest.optionalDependencies,
    ...manifest.devDependencies,
  })
  return [
    ...used.filter((name) => !explained.includes(name)).map((name) => `${name}: no line`),
    ...explained.filter((name) => !used.includes(name)).map((name) => `${name}: no dependency`),
    ...rows
      .filter((line) => cells(line).some((cell) => cell === ''))
      .map((line) => `empty: ${line}`),
  ]
}

function runtime(lock: Lock): readonly (readonly [string, Locked])[] {
  return entriesOf(lock).filter(([, { dev }]) => !dev)
}

/** Adds the packages that these need; nested versions are left out. */
function withNeeded(lock: Lock, names: readonly string[]): readonly (readonly [string, Locked])[] {
  const byName = new Map(entriesOf(lock))
  const found = new Set(names)
  for (const name of found)
    for (const needed of Object.keys(byName.get(name)?.dependencies ?? {})) found.add(needed)
  return entriesOf(lock).filter(([name]) => found.has(name))
}

const cached = new WeakMap<Lock, readonly (readonly [string, Locked])[]>()

function entriesOf(lock: Lock): readonly (readonly [string, Locked])[] {
  const entries =
    cached.get(lock) ??
    Object.entries(lock)
      .filter(([path]) => path !== '')
      .map(([path, one]) => [path.replace(/^.*node_modules\//, ''), one] as const)
  cached.set(lock, entries)
  return entries
}

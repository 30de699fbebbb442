import { cells } from './documents.ts'

/** Entry of a package in package-lock.json. */
export interface Locked {
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly optional?: boolean
  readonly hasInstallScript?: boolean
  readonly resolved?: string
}

export interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
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
/** Packages that have an install script which nobody needs to run, and why. */
const unusedInstallScripts = new Map([
  ['isolated-vm', 'its script builds from source where no binary comes with the package; ours do'],
])

/** Licences, install scripts and sources of everything that is there when Mayfly runs, on any system. */
export function lockFaults(lock: Lock): readonly string[] {
  return runtime(lock).flatMap(([name, one]) => [
    ...(licences.has(one.license ?? '') ? [] : [`${name}: licence "${one.license}"`]),
    ...(one.hasInstallScript && !unusedInstallScripts.has(name) ? [`${name}: install script`] : []),
    ...(one.resolved ? [`${name}: the lock file names the registry it came from`] : []),
  ])
}

/** Counts of packages to run, alone and with those that they need on any system, above those that the document states. */
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
  return Object.entries(lock)
    .filter(([path, { dev }]) => path !== '' && !dev)
    .map(([path, one]) => [path.replace(/^.*node_modules\//, ''), one])
}

import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodePackage } from './own-node.js'

export interface LocatedPackage {
  readonly name: string
  /** Path at which Node looks it up; `real` is its folder without links. */
  readonly at: string
  readonly real: string
}

const OWN = fileURLToPath(new URL('../../', import.meta.url))

/** Package of a name as Node resolves it from a folder; undefined if it is not installed. */
export function findPackage(name: string, from: string): LocatedPackage | undefined {
  const places = createRequire(path.join(from, 'package.json')).resolve.paths(name) ?? []
  const at = places
    .map((place) => path.join(place, name))
    .find((place) => existsSync(path.join(place, 'package.json')))
  return at === undefined ? undefined : { name, at, real: realpathSync(at) }
}

const C_LIBRARIES = ['-gnu', '-musl', '-msvc', '']

/** Names that a native binding may have on this system, one for each C library. */
export function bindingNames(prefix: string): readonly string[] {
  return C_LIBRARIES.map((library) => `${prefix}-${process.platform}-${process.arch}${library}`)
}

/** Packages that Mayfly loads, each with those that it loads in turn. */
const LOADED: Readonly<Record<string, readonly string[]>> = {
  'oxc-parser': bindingNames('@oxc-parser/binding'),
  'oxc-transform': bindingNames('@oxc-transform/binding'),
  'isolated-vm': ['node-gyp-build'],
  zod: [],
  [nodePackage ?? 'node']: [],
}

let folders: readonly string[] | undefined

/**
 * Folders of the packages that Mayfly loads, as Node looks them up and without links. npm installs them beside Mayfly, not
 * in its folder. Packages that are not installed are left out. Searched once for each process.
 */
export function ownPackages(): readonly string[] {
  folders ??= foldersOf(Object.entries(LOADED).flatMap(([name, parts]) => located(name, parts)))
  return folders
}

function located(name: string, parts: readonly string[]): readonly LocatedPackage[] {
  const own = findPackage(name, OWN)
  if (own === undefined) return []
  return [own, ...parts.flatMap((one) => findPackage(one, own.real) ?? findPackage(one, OWN) ?? [])]
}

function foldersOf(packages: readonly LocatedPackage[]): readonly string[] {
  return [...new Set(packages.flatMap(({ at, real }) => [at, real]))]
}

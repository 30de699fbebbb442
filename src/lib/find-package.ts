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

/** Packages that Mayfly loads, by the package that loads them; a name that ends with a dash has the system's names behind it. */
const LOADED = {
  'oxc-parser': ['@oxc-parser/binding-'],
  'oxc-transform': ['@oxc-transform/binding-'],
  'isolated-vm': ['node-gyp-build'],
  zod: [],
  [nodePackage ?? 'node']: [],
}
const SYSTEMS = ['-gnu', '-musl', '-msvc', ''].map(
  (library) => `${process.platform}-${process.arch}${library}`,
)

/**
 * Folders of the packages that Mayfly loads, as Node looks them up and without links. npm installs them beside Mayfly, not
 * in its folder. Packages that are not installed are left out.
 */
export function ownPackages(): readonly string[] {
  const located = Object.entries(LOADED).flatMap(([name, parts]) => {
    const own = findPackage(name, OWN)
    if (own === undefined) return []
    const names = parts.flatMap((part) =>
      part.endsWith('-') ? SYSTEMS.map((system) => part + system) : [part],
    )
    return [
      own,
      ...names.flatMap((one) => findPackage(one, own.real) ?? findPackage(one, OWN) ?? []),
    ]
  })
  return [...new Set(located.flatMap(({ at, real }) => [at, real]))]
}

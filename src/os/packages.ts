/**
 * Packages that a jailed program loads, and their paths in a wall.
 *
 * Problem. Package managers have different layouts: npm has one folder, pnpm and yarn use symlinks into a store. Node
 * resolves a package by its name from the folder of the importing file, and a wall mounts folders, not symlinks to
 * them.
 *
 * Mechanism. Each package is resolved from the importing folder, as Node does. A wall gets the real folder, and a
 * symlink at the path where Node looks, if that differs.
 */
import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { attempt } from '../lib/attempt.ts'
import { nodePackage } from '../lib/own-node.js'

export interface PackageLink {
  readonly at: string
  readonly target: string
}

/** Folders of packages on this machine, and links by which imports find them. */
export interface PackageFolders {
  readonly folders: readonly string[]
  readonly links: readonly PackageLink[]
}

interface Located {
  readonly name: string
  /** Path at which Node looks it up; `real` is its folder without links. */
  readonly at: string
  readonly real: string
}

const OWN = fileURLToPath(new URL('../../', import.meta.url))
const C_LIBRARIES = ['-gnu', '-musl', '-msvc', '']

/** Package of Mayfly's own with its native binding for this machine. Throws Error if one of them is missing. */
export function withBinding(name: string, prefix: string): readonly Located[] {
  const package_ = locate(name, OWN)
  return [package_, locateBinding(prefix, package_.real)]
}

/** A chain of packages, each imported by the one before, the first by Mayfly. Throws Error if one is missing. */
export function chainOf(...names: readonly string[]): readonly Located[] {
  let from = OWN
  return names.map((name) => {
    const located = locate(name, from)
    from = located.real
    return located
  })
}

/**
 * Folders of the packages that Mayfly loads, as Node looks them up and without links. npm installs them beside Mayfly, not
 * in its folder. Packages that are not installed are left out.
 */
export function ownPackages(): readonly string[] {
  const located = [
    attempt(() => withBinding('oxc-parser', '@oxc-parser/binding')),
    attempt(() => withBinding('oxc-transform', '@oxc-transform/binding')),
    attempt(() => chainOf('isolated-vm', 'node-gyp-build')),
    ...['zod', nodePackage].map((name) => (name ? attempt(() => chainOf(name)) : undefined)),
  ]
  return [...new Set(located.flatMap((some = []) => some.flatMap(({ at, real }) => [at, real])))]
}

export function placed(located: readonly Located[]): PackageFolders {
  return {
    folders: located.map(({ real }) => real),
    links: located
      .filter(({ at, real }) => at !== real)
      .map(({ at, real }) => ({ at, target: real })),
  }
}

function locateBinding(prefix: string, from: string): Located {
  const plain = `${prefix}-${process.platform}-${process.arch}`
  for (const suffix of C_LIBRARIES) {
    const found = find(plain + suffix, from) ?? find(plain + suffix, OWN)
    if (found) return found
  }
  throw new Error(`Cannot find "${prefix}" for ${process.platform} ${process.arch}`)
}

function locate(name: string, from: string): Located {
  const found = find(name, from)
  if (found) return found
  throw new Error(`Cannot find the package "${name}"`)
}

function find(name: string, from: string): Located | undefined {
  const places = createRequire(path.join(from, 'package.json')).resolve.paths(name) ?? []
  const at = places
    .map((place) => path.join(place, name))
    .find((place) => existsSync(path.join(place, 'package.json')))
  return at === undefined ? undefined : { name, at, real: realpathSync(at) }
}

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
import { fileURLToPath } from 'node:url'
import { bindingNames, findPackage, type LocatedPackage } from '../lib/find-package.ts'

export interface PackageLink {
  readonly at: string
  readonly target: string
}

/** Folders of packages on this machine, and links by which imports find them. */
export interface PackageFolders {
  readonly folders: readonly string[]
  readonly links: readonly PackageLink[]
}

const OWN = fileURLToPath(new URL('../../', import.meta.url))

/** Package of Mayfly's own with its native binding for this machine. Throws Error if one of them is missing. */
export function withBinding(name: string, prefix: string): readonly LocatedPackage[] {
  const package_ = locate(name, OWN)
  return [package_, locateBinding(prefix, package_.real)]
}

/** A chain of packages, each imported by the one before, the first by Mayfly. Throws Error if one is missing. */
export function chainOf(...names: readonly string[]): readonly LocatedPackage[] {
  let from = OWN
  return names.map((name) => {
    const located = locate(name, from)
    from = located.real
    return located
  })
}

export function placed(located: readonly LocatedPackage[]): PackageFolders {
  return {
    folders: located.map(({ real }) => real),
    links: located
      .filter(({ at, real }) => at !== real)
      .map(({ at, real }) => ({ at, target: real })),
  }
}

function locateBinding(prefix: string, from: string): LocatedPackage {
  for (const name of bindingNames(prefix)) {
    const found = findPackage(name, from) ?? findPackage(name, OWN)
    if (found) return found
  }
  throw new Error(`Cannot find "${prefix}" for ${process.platform} ${process.arch}`)
}

function locate(name: string, from: string): LocatedPackage {
  const found = findPackage(name, from)
  if (found) return found
  // Plug'n'Play keeps packages as archives, and those with programs, such as Mayfly, in ".yarn/unplugged".
  const isPlugged = process.versions['pnp'] !== undefined || OWN.includes('/.yarn/')
  const because = isPlugged
    ? ": yarn's Plug'n'Play has it in an archive, which no wall can show"
    : ''
  throw new Error(`Cannot find the package "${name}"${because}`)
}

import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { attempt } from '../lib/attempt.ts'
import { installedNative } from './joined.ts'

let found: { readonly file: string | undefined } | undefined

/**
 * Native binding of isolated-vm on this machine, by which cells run: a joined program is told its path, because the package
 * searches for it at each start, which takes twice as long as the load. Undefined where this platform has none.
 */
export function cellBinding(): string | undefined {
  found ??= { file: installedNative() ?? attempt(foundByPackage) }
  return found.file
}

/** Path for this Node, as the package itself finds it. Throws Error if there is none. */
function foundByPackage(): string {
  const main = createRequire(import.meta.url).resolve('isolated-vm')
  const { path } = createRequire(main)('node-gyp-build') as { path(folder: string): string }
  return path(dirname(main))
}

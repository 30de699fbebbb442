import { valueImports } from './chains.ts'
import type { Source } from './tree.ts'

/**
 * The server loads no code that starts, jails or looks into processes: a gateway that is broken into finds none of it in
 * its memory. Imports of values are followed to the end, from the files that a server starts with.
 */
const forbidden = /^src\/((os|jail|warden)\/|images\/run-program\.ts$)/

/** Files at which the search stops, and why. */
const exceptions = new Map([
  [
    'src/assemble/local-warden.ts',
    'a single `mayfly run` of an ordinary user holds the warden in its own process',
  ],
  ['src/cli/prestart-warden.ts', 'the same run starts its walls before the rest of it is loaded'],
  [
    'src/warden/custody.ts',
    'Landlock binds the process that calls it: a server shuts itself out of the folder of the key',
  ],
])

/** Chains from a file of the server to forbidden code, as `a → b → c`. */
export function serverLoadFaults(
  sources: readonly Source[],
  entries: readonly string[],
): readonly string[] {
  const isStop = (path: string) => forbidden.test(path) || exceptions.has(path)
  return [...valueImports(sources, entries, isStop)].flatMap(({ chain, imported: { path } }) =>
    path !== undefined && forbidden.test(path) && !exceptions.has(path)
      ? [`${chain} → ${path}`]
      : [],
  )
}

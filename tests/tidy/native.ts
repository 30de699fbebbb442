import { valueImports } from './chains.ts'
import type { Source } from './tree.ts'

/** Native code that untrusted code gets to; it may run in a jail only. */
const native = new Set(['isolated-vm', 'oxc-parser'])

/** Ways from a program of the server to native code that reads or runs what nobody trusts, as `a → b → package`. */
export function nativeFaults(
  sources: readonly Source[],
  programs: readonly string[],
): readonly string[] {
  return [...valueImports(sources, programs)].flatMap(({ chain, imported: { specifier } }) =>
    native.has(specifier) ? [`${chain} → ${specifier}`] : [],
  )
}

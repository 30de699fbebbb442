import { importsOf } from './imports.ts'
import type { Source } from './tree.ts'

/** Native code that untrusted code gets to; it may run in a jail only. */
const native = new Set(['isolated-vm', 'oxc-parser'])

/** Ways from a program of the server to native code that reads or runs what nobody trusts, as `a → b → package`. */
export function nativeFaults(
  sources: readonly Source[],
  programs: readonly string[],
): readonly string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const wayTo = new Map(programs.map((path) => [path, path]))
  const faults: string[] = []
  for (const [path, way] of wayTo) {
    const source = byPath.get(path)
    const imports = source ? importsOf(source).filter(({ isType }) => !isType) : []
    for (const { specifier, path: to } of imports) {
      if (native.has(specifier)) faults.push(`${way} → ${specifier}`)
      if (to !== undefined && !wayTo.has(to)) wayTo.set(to, `${way} → ${to}`)
    }
  }
  return faults
}

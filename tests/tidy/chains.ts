import { type Import, importsOf } from './imports.ts'
import type { Source } from './tree.ts'

/** Import of a value, and the chain of files that leads to it from an entry, as `a → b`. */
export interface ChainedImport {
  readonly chain: string
  readonly imported: Import
}

/**
 * Imports of values, followed to the end from the entries; a file is entered once. `stops`: files that are not entered.
 */
export function* valueImports(
  sources: readonly Source[],
  entries: readonly string[],
  stops: (path: string) => boolean = () => false,
): Generator<ChainedImport> {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const chains = new Map(entries.map((path) => [path, path]))
  for (const [path, chain] of chains) {
    const source = byPath.get(path)
    for (const imported of source ? importsOf(source) : []) {
      const { path: to, isType } = imported
      if (isType || (to !== undefined && chains.has(to))) continue
      yield { chain, imported }
      if (to !== undefined && !stops(to)) chains.set(to, `${chain} → ${to}`)
    }
  }
}

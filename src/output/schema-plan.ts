import { keywords, type KeywordCheck, type ArgumentKind } from './schema-keywords.ts'
import type { SchemaObject, Schema } from './schema-walk.ts'

/** Keyword of a schema with its prepared argument. */
export interface PreparedKeyword {
  readonly check: KeywordCheck
  readonly arg: unknown
}

/**
 * Prepared keywords of each subschema, computed once on first use: an argument may be as long as the request, and be
 * visited once per step.
 */
export class SchemaPlan {
  readonly #root: Schema
  readonly #parts = new Map<SchemaObject, readonly PreparedKeyword[]>()

  constructor(root: Schema) {
    this.#root = root
  }

  /** Checking keywords of a subschema, in source order. */
  of(rules: SchemaObject): readonly PreparedKeyword[] {
    return this.#parts.getOrInsertComputed(rules, () =>
      Object.entries(rules).flatMap(([name, arg]) => this.#part(name, arg)),
    )
  }

  #part(name: string, arg: unknown): readonly PreparedKeyword[] {
    const keyword = keywords.get(name)
    return keyword?.check ? [{ check: keyword.check, arg: this.#ready(keyword.takes, arg) }] : []
  }

  #ready(takes: ArgumentKind, arg: unknown): unknown {
    if (takes === 'ref') return resolve(this.#root, arg as string)
    if (takes === 'schemaMap' || takes === 'namesMap') return Object.entries(arg as object)
    if (takes !== 'types') return arg
    const types = new Set([arg].flat())
    return { types, text: [...types].join(' or ') }
  }
}

/** Resolves a local reference; undefined if there is no target. */
export function resolve(root: Schema, ref: string): Schema | undefined {
  if (ref !== '#' && !ref.startsWith('#/')) return undefined
  let at: unknown = root
  for (const step of ref.split('/').slice(1)) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as SchemaObject)[name]
  }
  return at as Schema
}

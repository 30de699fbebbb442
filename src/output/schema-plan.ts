import { keywords, type Check, type Takes } from './schema-keywords.ts'
import type { Rules, Schema } from './schema-walk.ts'

/** One keyword of a schema, ready to be asked. */
export interface Part {
  readonly check: Check
  readonly arg: unknown
}

/**
 * What each part of a schema asks for. It is made ready once, where a check first comes to it: an argument may be as
 * long as a request, and a check come to it as often as it has steps.
 */
export class Plan {
  readonly #root: Schema
  readonly #parts = new Map<Rules, readonly Part[]>()

  constructor(root: Schema) {
    this.#root = root
  }

  /** The keywords of one part that check anything, in the order they are written. */
  of(rules: Rules): readonly Part[] {
    let parts = this.#parts.get(rules)
    if (parts === undefined) {
      parts = Object.entries(rules).flatMap(([name, arg]) => this.#part(name, arg))
      this.#parts.set(rules, parts)
    }
    return parts
  }

  #part(name: string, arg: unknown): readonly Part[] {
    const keyword = keywords.get(name)
    return keyword?.check ? [{ check: keyword.check, arg: this.#ready(keyword.takes, arg) }] : []
  }

  #ready(takes: Takes, arg: unknown): unknown {
    if (takes === 'ref') return resolve(this.#root, arg as string)
    if (takes === 'schemaMap' || takes === 'namesMap') return Object.entries(arg as object)
    if (takes !== 'types') return arg
    const types = new Set([arg].flat())
    return { types, text: [...types].join(' or ') }
  }
}

/** The part of a schema that a reference names; undefined where there is none. */
export function resolve(root: Schema, ref: string): Schema | undefined {
  if (ref !== '#' && !ref.startsWith('#/')) return undefined
  let at: unknown = root
  for (const step of ref.split('/').slice(1)) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Rules)[name]
  }
  return at as Schema
}

import { keywords, type Mismatch, type Rules, type Schema, type Walk } from './schema-keywords.ts'

/** Looks at values in one check, and levels of value and schema together. Past them nothing matches. */
const stepsMax = 1_000_000
const levelsMax = 1000

/** One value against one schema that was read, in counted steps. */
export class Checking implements Walk {
  readonly #root: Schema
  #steps = 0
  #levels = 0

  constructor(root: Schema) {
    this.#root = root
  }

  run(value: unknown): Mismatch | undefined {
    try {
      return this.look(this.#root, value, '')
    } catch (thrown) {
      if (thrown === spent) return { path: '', why: 'checking it takes too much work' }
      throw thrown
    }
  }

  look(schema: Schema, value: unknown, path: string): Mismatch | undefined {
    this.spend(1)
    if (schema === true) return undefined
    if (schema === false) return { path, why: 'nothing is allowed here' }
    this.#levels += 1
    if (this.#levels > levelsMax) throw spent
    const found = this.#all(schema, value, path)
    this.#levels -= 1
    return found
  }

  ref(to: string, value: unknown, path: string): Mismatch | undefined {
    return this.look(resolve(this.#root, to)!, value, path)
  }

  spend(steps: number): void {
    this.#steps += steps
    if (this.#steps > stepsMax) throw spent
  }

  #all(rules: Rules, value: unknown, path: string): Mismatch | undefined {
    for (const name of Object.keys(rules)) {
      const arg = rules[name] as never
      this.spend(sizeOf(arg) / 4)
      const found = keywords.get(name)?.check?.({ value, arg, rules, path, walk: this })
      if (found !== undefined) return typeof found === 'string' ? { path, why: found } : found
    }
    return undefined
  }
}

/** Members of an argument that a keyword may have to go through. */
function sizeOf(arg: unknown): number {
  return typeof arg === 'object' && arg !== null ? Object.keys(arg).length : 0
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

const spent = new Error('The steps of this check are spent')

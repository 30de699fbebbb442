import { spent, type StepBudget } from './schema-budget.ts'
import { pointer, type ValuePath } from './schema-path.ts'
import type { SchemaPlan } from './schema-plan.ts'
import type {
  JsonObject,
  Mismatch,
  UnlocatedMismatch,
  Schema,
  CheckContext,
} from './schema-walk.ts'

/** Nesting limit of value and schema together; deeper values never match. */
const levelsMax = 1000
/** Up to this many keys, listing again is cheaper than caching. */
const keysFew = 16

/** Checks one value against a compiled schema within a budget. At the limit the value does not match. */
export class SchemaCheck implements CheckContext {
  readonly #plan: SchemaPlan
  readonly #budget: StepBudget
  readonly #keys = new Map<object, readonly string[]>()
  #levels = 0

  constructor(plan: SchemaPlan, budget: StepBudget) {
    this.#plan = plan
    this.#budget = budget
  }

  run(root: Schema, value: unknown): Mismatch | undefined {
    try {
      this.#budget.resume()
      const found = this.look(root, value, undefined)
      return found && { path: pointer(found.at), why: found.why }
    } catch (thrown) {
      if (thrown === spent) return { path: '', why: 'checking it takes too much work' }
      throw thrown
    } finally {
      this.#budget.pause()
    }
  }

  look(schema: Schema, value: unknown, at: ValuePath | undefined): UnlocatedMismatch | undefined {
    this.spend(1)
    if (schema === true) return undefined
    if (schema === false) return { at, why: 'nothing is allowed here' }
    this.enter()
    for (const { check, arg } of this.#plan.of(schema)) {
      this.spend(0.25)
      const found = check({ value, arg: arg as never, rules: schema, at, walk: this })
      if (found === undefined) continue
      this.leave()
      return typeof found === 'string' ? { at, why: found } : found
    }
    this.leave()
    return undefined
  }

  keys(value: JsonObject): readonly string[] {
    const known = this.#keys.get(value)
    if (known !== undefined) return known
    const keys = Object.keys(value)
    this.spend(keys.length)
    if (keys.length > keysFew) this.#keys.set(value, keys)
    return keys
  }

  spend(steps: number): void {
    this.#budget.spend(steps)
  }

  enter(): void {
    this.#levels += 1
    if (this.#levels > levelsMax) throw spent
  }

  leave(): void {
    this.#levels -= 1
  }
}

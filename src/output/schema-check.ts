import { spent, type Budget } from './schema-budget.ts'
import { pointer, type Place } from './schema-place.ts'
import type { Plan } from './schema-plan.ts'
import type { Members, Mismatch, Miss, Schema, Walk } from './schema-walk.ts'

/** Levels of value and schema together. Past them nothing matches. */
const levelsMax = 1000
/** Keys that are quicker listed again than kept. */
const keysFew = 16

/** One value against one schema that was read, within a budget. Where that ends, the value does not match. */
export class Checking implements Walk {
  readonly #plan: Plan
  readonly #budget: Budget
  readonly #keys = new Map<object, readonly string[]>()
  #levels = 0

  constructor(plan: Plan, budget: Budget) {
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

  look(schema: Schema, value: unknown, at: Place | undefined): Miss | undefined {
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

  keys(value: Members): readonly string[] {
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

import type { Facts } from '../facts.ts'
import { isReached, isWithin, usesOfModules, type Rule } from './rule.ts'

/** Access to the process: environment, exit, internals. */
export const processAccess: Rule = {
  name: 'PROCESS_ACCESS',
  *find(facts: Facts) {
    yield* usesOfModules(facts, modules)
    for (const reference of facts.references) {
      if (isReached(reference) && roots.some((path) => isWithin(reference.path, path))) {
        yield reference.node
      }
    }
  },
}

const modules = new Set(['process'])
const roots = ['process', 'Deno.env', 'Deno.exit', 'Deno.kill', 'Deno.pid', 'Bun.env']

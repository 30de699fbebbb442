import type { Facts } from '../facts.ts'
import { isReached, isWithin, type Rule } from './rule.ts'

/** Modules loaded by call: `require`, its aliases and relatives. */
export const requireRule: Rule = {
  name: 'REQUIRE',
  *find(facts: Facts) {
    for (const reference of facts.references) {
      if (isReached(reference) && roots.some((path) => isWithin(reference.path, path))) {
        yield reference.node
      }
    }
  },
}

const roots = [
  'require',
  'module.require',
  'module.constructor._load',
  'module:module.createRequire',
  'process.mainModule.require',
  'process.getBuiltinModule',
]

import { isReached, type Rule } from './rule.ts'

/** Modules loaded by `import`, `export … from`, `import()` and `importScripts`. */
export const importRule: Rule = {
  name: 'IMPORT',
  *find(facts) {
    for (const { node, how } of facts.loads) if (how !== 'require') yield node
    for (const reference of facts.references) {
      if (reference.path === 'importScripts' && isReached(reference)) yield reference.node
    }
  },
}

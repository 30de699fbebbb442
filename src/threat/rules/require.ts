import { usesOfPaths, type Rule } from './rule.ts'

/** Modules loaded by call: `require`, its aliases and relatives. */
export const requireRule: Rule = {
  name: 'REQUIRE',
  *find(facts) {
    yield* usesOfPaths(facts, roots)
  },
}

const roots = [
  'require',
  '__non_webpack_require__',
  'module.children',
  'module.parent',
  'module.require',
  'module.constructor._load',
  'module:module._load',
  'module:module.createRequire',
  'process.mainModule.require',
  'process.getBuiltinModule',
]

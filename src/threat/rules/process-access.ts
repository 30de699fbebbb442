import { usesOfModules, usesOfPaths, type Rule } from './rule.ts'

/** Access to the process: environment, exit, internals. */
export const processAccess: Rule = {
  name: 'PROCESS_ACCESS',
  *find(facts) {
    yield* usesOfModules(facts, modules)
    yield* usesOfPaths(facts, roots)
  },
}

const modules = new Set(['process'])
const roots = ['process', 'Deno.env', 'Deno.exit', 'Deno.kill', 'Deno.pid', 'Bun.env']

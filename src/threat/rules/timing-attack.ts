import { pathOf } from '../value.ts'
import { usesOfModules, usesOfPaths, type Rule } from './rule.ts'

/** High-resolution clocks, and differences of coarse ones. A date alone does not count. */
export const timingAttack: Rule = {
  name: 'TIMING_ATTACK',
  *find(facts) {
    yield* usesOfModules(facts, modules)
    yield* usesOfPaths(facts, fine)
    for (const node of facts.subtractions) {
      if (isReading(pathOf(node['left'])) || isReading(pathOf(node['right']))) yield node
    }
  },
}

const modules = new Set(['perf_hooks'])
const fine = [
  'performance',
  'process.hrtime',
  'Atomics.wait',
  'Atomics.waitAsync',
  'SharedArrayBuffer',
]

function isReading(path: string | undefined): boolean {
  return path === 'Date.now()' || path === 'new Date'
}

import { usesOfBindings, usesOfModules, usesOfPaths, type Rule } from './rule.ts'

/** Use of other programs. */
export const childProcess: Rule = {
  name: 'CHILD_PROCESS',
  *find(facts) {
    yield* usesOfModules(facts, modules)
    yield* usesOfPaths(facts, starters)
    yield* usesOfBindings(facts, spawners)
  },
}

const modules = new Set([
  'child_process',
  'cluster',
  'cross-spawn',
  'execa',
  'node-pty',
  'shelljs',
  'spawn-sync',
  'zx',
])
const starters = [
  'Deno.run',
  'Deno.Command',
  'Bun.spawn',
  'Bun.spawnSync',
  'Bun.$',
  'process.execve',
]
const spawners = new Set(['spawn_sync', 'process_wrap', 'pipe_wrap'])

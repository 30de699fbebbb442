import { globSync } from 'node:fs'

/** Which tests belong together, in the order in which CI runs them. A new folder of tests/ is `unit` by default. */
export const suiteNames = ['unit', 'sim', 'walls', 'doors'] as const
export type SuiteName = (typeof suiteNames)[number]

const folders: Record<Exclude<SuiteName, 'unit'>, readonly string[]> = {
  sim: ['tests/sim/'],
  walls: ['tests/walls/', 'tests/conformance/', 'tests/hostile/'],
  doors: ['tests/doors/'],
}
const tests = ['{src,tests,scripts,guest,bin}/**/*.test.{ts,js}']

/** Files of a suite relative to the root, sorted; `only` keeps those whose path contains it. */
export function filesOf(suite: SuiteName | 'bench', only = ''): readonly string[] {
  const all =
    suite === 'bench'
      ? globSync('bench/{anomalies,batch,flood,isolate,lives,server,tiers,wasm}.ts')
      : globSync(tests).filter(isIn(suite))
  return all.filter((file) => file.includes(only)).sort()
}

function isIn(suite: SuiteName): (file: string) => boolean {
  if (suite !== 'unit') return (file) => folders[suite].some((folder) => file.startsWith(folder))
  const others = Object.values(folders).flat()
  return (file) => !others.some((folder) => file.startsWith(folder))
}

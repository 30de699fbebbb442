import { globSync } from 'node:fs'

/** Test suites, in CI order. A new folder of tests/ belongs to `unit` by default. */
export const suiteNames = ['unit', 'sim', 'walls', 'doors'] as const
export type SuiteName = (typeof suiteNames)[number]

const folders: Record<Exclude<SuiteName, 'unit'>, readonly string[]> = {
  sim: ['tests/sim/'],
  walls: ['tests/walls/', 'tests/conformance/', 'tests/hostile/', 'tests/library/'],
  doors: ['tests/doors/', 'tests/everyday/'],
}
/** Corpus programs may look like test files. */
const corpus = 'tests/everyday/programs/'
const tests = ['{src,tests,scripts,guest,bin}/**/*.test.{ts,js}']

/** Files of a suite relative to the root, sorted; `only` filters by path. */
export function filesOf(suite: SuiteName | 'bench', only = ''): readonly string[] {
  const all =
    suite === 'bench'
      ? globSync(
          'bench/{abusers,anomalies,batch,capabilities,flood,isolate,lives,sentinel,server,sessions,tiers,tighten,wasm}.ts',
        )
      : globSync(tests).filter((file) => !file.startsWith(corpus) && isIn(suite)(file))
  return all.filter((file) => file.includes(only)).sort()
}

/** Pure tests, and attacks on third-party libraries. Two fuzzers start a program. */
const pure =
  /\.prop\.test\.ts$|^tests\/(?:fuzz\/(?!sentinel|threat-analyst)|picture\/|sim\/|tidy\.|zones\/|hostile\/bites\.)/
/** Gateway tests in the test's own process, with a stubbed pipeline and no wall. */
const doorsAlone =
  /^tests\/doors\/(?:client|history|http|http-(?:client|hostile|openapi|static)|idempotency|msgpack|s3-http|stream|telemetry-(?:exporter|http)|timeline|tls|watch-http|webhooks|websocket)\.test\.ts$/

/** True if the result may depend on the user; CI runs other tests once. */
export function dependsOnUser(file: string): boolean {
  return !pure.test(file) && !doorsAlone.test(file)
}

function isIn(suite: SuiteName): (file: string) => boolean {
  if (suite !== 'unit') return (file) => folders[suite].some((folder) => file.startsWith(folder))
  const others = Object.values(folders).flat()
  return (file) => !others.some((folder) => file.startsWith(folder))
}

import { globSync } from 'node:fs'

/** Which tests belong together, in the order in which CI runs them. A new folder of tests/ is `unit` by default. */
export const suiteNames = ['unit', 'sim', 'walls', 'doors'] as const
export type SuiteName = (typeof suiteNames)[number]

const folders: Record<Exclude<SuiteName, 'unit'>, readonly string[]> = {
  sim: ['tests/sim/'],
  walls: ['tests/walls/', 'tests/conformance/', 'tests/hostile/'],
  doors: ['tests/doors/', 'tests/everyday/'],
}
/** Programs of the corpus may be named like tests. */
const corpus = 'tests/everyday/programs/'
const tests = ['{src,tests,scripts,guest,bin}/**/*.test.{ts,js}']

/** Files of a suite relative to the root, sorted; `only` keeps those whose path contains it. */
export function filesOf(suite: SuiteName | 'bench', only = ''): readonly string[] {
  const all =
    suite === 'bench'
      ? globSync(
          'bench/{abusers,anomalies,batch,capabilities,flood,isolate,lives,sentinel,server,tiers,tighten,wasm}.ts',
        )
      : globSync(tests).filter((file) => !file.startsWith(corpus) && isIn(suite)(file))
  return all.filter((file) => file.includes(only)).sort()
}

/** What computes and nothing else, and what is done to libraries of other people. Two fuzzers start a program. */
const pure =
  /\.prop\.test\.ts$|^tests\/(?:fuzz\/(?!sentinel|threat-analyst)|picture\/|sim\/|tidy\.|zones\/|hostile\/bites\.)/
/** A gateway in the test's own process, behind which there is a road handed in, and no wall. */
const doorsAlone =
  /^tests\/doors\/(?:client|history|http|http-(?:client|hostile|openapi|static)|idempotency|msgpack|s3-http|stream|telemetry-(?:exporter|http)|timeline|tls|watch-http|webhooks|websocket)\.test\.ts$/

/** Whether a test may say something else when another user runs it; CI runs what cannot once. */
export function dependsOnUser(file: string): boolean {
  return !pure.test(file) && !doorsAlone.test(file)
}

function isIn(suite: SuiteName): (file: string) => boolean {
  if (suite !== 'unit') return (file) => folders[suite].some((folder) => file.startsWith(folder))
  const others = Object.values(folders).flat()
  return (file) => !others.some((folder) => file.startsWith(folder))
}

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

/**
 * Files of which each long run reaches the counts as root: kernels of their own, code that no parser reads, a thousand runs of
 * an image, and a soak of ten minutes.
 */
const asRoot: readonly string[] = [
  'tests/conformance/microvm.test.ts',
  'tests/conformance/userkernel.test.ts',
  'tests/hostile/parser-walls.test.ts',
  'tests/hostile/process/microvm.test.ts',
  'tests/hostile/process/userkernel.test.ts',
  'tests/walls/image-roots.test.ts',
  'tests/walls/machine-clones.test.ts',
  'tests/walls/machine-forged-frames.test.ts',
  'tests/walls/machine-fork-kills.test.ts',
  'tests/walls/process-soak.test.ts',
]

/** True if an ordinary user has the usual counts of a file in every long run. */
export function countsAsRoot(file: string): boolean {
  return asRoot.includes(file)
}

function isIn(suite: SuiteName): (file: string) => boolean {
  if (suite !== 'unit') return (file) => folders[suite].some((folder) => file.startsWith(folder))
  const others = Object.values(folders).flat()
  return (file) => !others.some((folder) => file.startsWith(folder))
}

/** Tests that draw many random cases. */
const drawsMany = /\.prop\.test\.ts$|^tests\/fuzz\//
/**
 * Pure tests that take more than about half a second, most of them because they wait for a process or a deadline. With
 * those that draw many cases they are a quarter of the files and most of the time.
 */
const slow: readonly string[] = [
  'scripts/cpu-of-files.test.ts',
  'scripts/rotation.test.ts',
  'scripts/run-tests.test.ts',
  'src/agent-wire/agent-link.test.ts',
  'src/agent-wire/guest-view.test.ts',
  'src/cli/artifacts-folder.test.ts',
  'src/cli/attachment.test.ts',
  'src/config/load.test.ts',
  'src/config/trust.test.ts',
  'src/contract/clock.test.ts',
  'src/egress/private-addresses.test.ts',
  'src/egress/proxy.test.ts',
  'src/evidence/bodies.test.ts',
  'src/evidence/journal.test.ts',
  'src/evidence/record.test.ts',
  'src/folders/open.test.ts',
  'src/gateway/doors/history.test.ts',
  'src/gateway/http/websocket-terminal.test.ts',
  'src/gateway/local/local.test.ts',
  'src/images/feed.test.ts',
  'src/images/layer-tree.test.ts',
  'src/images/scan.test.ts',
  'src/lib/ed25519.test.ts',
  'src/lib/keep-pool-awake.test.ts',
  'src/lib/parse-json.test.ts',
  'src/lib/wasm-instructions.test.ts',
  'src/mcp/servers/upstream.test.ts',
  'src/os/cgroup.test.ts',
  'src/os/compiler.test.ts',
  'src/os/libc.test.ts',
  'src/output/schema.test.ts',
  'src/pool/pool.test.ts',
  'src/provider-modules/modules.test.ts',
  'src/sdk/bridge/peer.test.ts',
  'src/threat/analysis-client.test.ts',
  'src/threat/cap.test.ts',
  'src/threat/cost.test.ts',
  'src/threat/zones/split.test.ts',
  'src/walls/guest-calls.test.ts',
  'src/walls/guest-streams.test.ts',
  'src/walls/output-stream.test.ts',
  'src/walls/program-session.test.ts',
  'src/walls/usage-samples.test.ts',
  'src/walls/worker-guest.test.ts',
  'src/warden/engines/agent-guest/agent-zones.test.ts',
  'src/warden/engines/hostile-folder.test.ts',
  'src/warden/engines/processes/memory-watch.test.ts',
  'src/warden/engines/processes/scratch-watch.test.ts',
  'src/warden/engines/release-once-gone.test.ts',
  'src/warden/engines/runsc/control.test.ts',
  'src/warden/live-walls.test.ts',
  'src/warden/sampler.test.ts',
  'src/watch/detection.test.ts',
  'src/watch/guard.test.ts',
  'tests/fixtures/drawn.test.ts',
]

/** True for the tests of `smoke`, which is over in less than a minute on two cores. */
export function isQuick(file: string): boolean {
  return !drawsMany.test(file) && !slow.includes(file)
}

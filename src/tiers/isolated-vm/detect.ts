import { MayflyError } from '../../contract/error.ts'
import { systemClock } from '../../contract/clock.ts'
import { allControls, noFiles, noNetwork } from '../../contract/controls.ts'
import type { Profile } from '../../contract/profile.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import { probeTenant, type Shelf } from '../../warden/shelf.ts'

const PROBE_MS_MAX = 5_000
const PROBE_BYTES = 128 * 2 ** 20

/** Runs a guest that computes, and looks at what holds its worker: without seccomp and a memory watch it is no wall. */
export async function probe(provider: Provider, workers: Shelf): Promise<Availability> {
  const { wall } = await workers.ready()
  const least = ['seccomp', 'memory watch'].filter((layer) => !wall.layers.includes(layer))
  if (least.length > 0) {
    throw new MayflyError('NO_JAIL', `Cannot jail a worker: ${least.join(' and ')} is missing`, {
      hint: 'Run Mayfly on a Linux kernel with seccomp filters',
    })
  }
  await runsGuest(provider)
  return {
    available: true,
    strength: strengthOf.isolate,
    layers: wall.layers,
    missing: wall.missing,
  }
}

async function runsGuest(provider: Provider): Promise<void> {
  await using sandbox = await provider.launch(probeProfile, systemClock)
  const task = {
    run: 'probe',
    language: 'js',
    entry: 'body',
    code: 'return [1, 2, 3].map((n) => n * input.by)',
    inputText: '{"by":7}',
    files: [],
    capabilities: [],
  } as const
  const end = await sandbox.run(task, { stdout() {}, stderr() {}, released() {} })
  if (end.status !== 'ok' || end.resultText !== '[7,14,21]') {
    throw new MayflyError(
      'UNAVAILABLE',
      `Cannot run a guest: it answered "${end.error?.message ?? end.resultText}"`,
    )
  }
}

const controls = {
  ...allControls,
  network: noNetwork,
  files: noFiles,
  memory: PROBE_BYTES,
  capabilities: [],
}

const probeProfile: Profile = {
  format: 1,
  provider: 'isolated-vm',
  tier: 'isolate',
  floor: 1,
  image: 'v8',
  language: 'js',
  entry: 'body',
  tenant: probeTenant,
  controls,
  schedule: {
    name: 'probe',
    phases: [{ name: 'full', for: PROBE_MS_MAX, controls }],
    onAnomaly: { low: 'record', medium: 'terminate', high: 'terminate' },
    shorten: 1,
  },
  limits: {
    timeout: PROBE_MS_MAX,
    memory: PROBE_BYTES,
    cpu: 1,
    processes: 1,
    disk: 0,
    output: 1024,
    result: 1024,
    artifacts: 0,
  },
  output: { gate: 'stream' },
  capture: false,
  digest: 'probe',
  explain: [],
}

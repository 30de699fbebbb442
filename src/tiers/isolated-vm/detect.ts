import { MayflyError, messageOf } from '../../contract/error.ts'
import { systemClock } from '../../contract/clock.ts'
import { allControls, noFiles, noNetwork } from '../../contract/controls.ts'
import type { Profile } from '../../contract/profile.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import { kind, knockedSchema } from './wire.ts'
import type { WallHandle } from '../../warden/handle.ts'
import { probeTenant, type Shelf } from '../../warden/shelf.ts'

const PROBE_MS_MAX = 5_000
const PROBE_BYTES = 128 * 2 ** 20

/** Runs a guest that computes, and looks at what holds its worker: without seccomp and a memory watch it is no wall. */
export async function probe(provider: Provider, workers: Shelf): Promise<Availability> {
  const worker = await workers.ready()
  const { wall } = worker
  const least = ['seccomp', 'memory watch'].filter((layer) => !wall.layers.includes(layer))
  if (least.length > 0) {
    throw new MayflyError('NO_JAIL', `Cannot jail a worker: ${least.join(' and ')} is missing`, {
      hint: 'Run Mayfly on a Linux kernel with seccomp filters',
    })
  }
  await holdsAgainstItself(worker)
  await runsGuest(provider)
  return {
    available: true,
    strength: strengthOf.isolate,
    layers: wall.layers,
    missing: wall.missing,
  }
}

/** The worker itself tries what a guest that broke V8 would try first; only the filter's own answer counts. */
async function holdsAgainstItself(worker: WallHandle): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const timer = setTimeout(() => reject(new Error('it did not answer')), PROBE_MS_MAX)
  worker.listen({
    frame: (frame) => (frame.kind === kind.knocked ? resolve(frame.payload) : undefined),
    ended: (end) => reject(new Error(`it ended (${end.how}, ${end.detail})`)),
  })
  worker.ref(true)
  try {
    worker.send(kind.knock, '')
    const answers = knockedSchema.parse(JSON.parse((await promise).toString()))
    const through = Object.entries(answers).filter(
      ([, answer]) => answer !== 'EPERM' && answer !== 'ENOSYS',
    )
    if (through.length === 0) return
    throw new Error(`system calls get through: ${through.map(([call]) => call).join(', ')}`)
  } catch (cause) {
    throw new MayflyError('NO_JAIL', `Cannot jail a worker: ${messageOf(cause)}`, {
      hint: 'Run Mayfly on a Linux kernel with seccomp filters',
      cause,
    })
  } finally {
    clearTimeout(timer)
    worker.listen(undefined)
    worker.ref(false)
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

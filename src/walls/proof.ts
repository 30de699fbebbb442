import { systemClock } from '../contract/clock.ts'
import { allControls, noFiles, noNetwork } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider, Task } from '../contract/provider.ts'
import type { WallHandle } from './handle.ts'
import { probeTenant } from './worker-spares.ts'
import { kind, probedSchema } from './wire.ts'
import { parseJson } from '../lib/parse-json.ts'

const PROBE_MS_MAX = 5_000
const PROBE_BYTES = 128 * 2 ** 20
/** Default scratch size of a job. */
const PROBE_DISK_BYTES = 64 * 2 ** 20
const hint = 'Run Mayfly on a Linux kernel with seccomp filters'

/** Throws NO_JAIL unless the worker has a seccomp filter and a memory watch, and the filter holds when it is probed. */
export async function assertJailed(worker: WallHandle): Promise<void> {
  const { layers } = worker.wall
  const least = ['seccomp', 'memory watch'].filter((layer) => !layers.includes(layer))
  if (least.length > 0) {
    const message = `Cannot jail a worker: ${least.join(' and ')} is missing`
    throw new MayflyError('NO_JAIL', message, { hint })
  }
  await holdsAgainstItself(worker)
}

/** Has the worker itself probe forbidden calls, as a guest after a V8 escape would; only the filter's errno counts. */
async function holdsAgainstItself(worker: WallHandle): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const timer = setTimeout(() => reject(new Error('it did not answer')), PROBE_MS_MAX)
  worker.listen({
    frame: (frame) => (frame.kind === kind.probed ? resolve(frame.payload) : undefined),
    ended: (end) => reject(new Error(`it ended (${end.how}, ${end.detail})`)),
  })
  worker.ref(true)
  try {
    worker.send(kind.probe, '')
    const answers = probedSchema.parse(parseJson((await promise).toString()))
    const through = Object.entries(answers).filter(
      ([, answer]) => answer !== 'EPERM' && answer !== 'ENOSYS',
    )
    if (through.length === 0) return
    throw new Error(
      `the filter permits forbidden system calls: ${through.map(([call]) => call).join(', ')}`,
    )
  } catch (cause) {
    const message = `Cannot jail a worker: ${messageOf(cause)}`
    throw new MayflyError('NO_JAIL', message, { hint, cause })
  } finally {
    clearTimeout(timer)
    worker.listen(undefined)
    worker.ref(false)
  }
}

/** Trusted guest with a known result. */
export type Probe = Pick<Task, 'language' | 'entry' | 'code' | 'inputText'> & {
  readonly expect: string
  /** True if few jobs use such a wall: the probe then keeps no spare. */
  readonly isRare?: true
  /** Milliseconds, by default five seconds. */
  readonly lifeMsMax?: number
}

/** Limit of a probe's output, above what its guest prints. */
const PRINTED_BYTES_MAX = 4096

/**
 * Runs a trusted guest to its end and returns its output. Throws MayflyError UNAVAILABLE for any other result than the
 * expected one.
 */
export async function assertAnswers(provider: Provider, probe: Probe): Promise<string> {
  const { expect, isRare, lifeMsMax: _, ...asked } = probe
  const hints = isRare && { isShort: true, isRare }
  await using sandbox = await provider.launch(probeProfile(provider, probe), systemClock, hints)
  const task = { run: 'probe', ...asked, files: [], capabilities: [] }
  let printed = ''
  const stdout = (chunk: Uint8Array) => {
    if (printed.length < PRINTED_BYTES_MAX) printed += Buffer.from(chunk).toString()
  }
  const end = await sandbox.run(task, { stdout, stderr() {}, released() {} })
  if (end.status === 'ok' && end.resultText === expect) return printed.slice(0, PRINTED_BYTES_MAX)
  const answer = end.error?.message ?? end.resultText
  throw new MayflyError('UNAVAILABLE', `Cannot run a guest: it answered "${answer}"`)
}

const controls = {
  ...allControls,
  network: noNetwork,
  files: noFiles,
  memory: PROBE_BYTES,
  capabilities: [],
}

function probeProfile(
  { name, tier }: Provider,
  { language, entry, lifeMsMax = PROBE_MS_MAX }: Probe,
): Profile {
  return {
    format: 1,
    provider: name,
    tier,
    floor: 1,
    image: 'builtin',
    language,
    entry,
    tenant: probeTenant,
    controls,
    schedule: {
      name: 'probe',
      phases: [{ name: 'full', for: lifeMsMax, controls }],
      onAnomaly: { low: 'record', medium: 'terminate', high: 'terminate' },
      shorten: 1,
    },
    limits: {
      timeout: lifeMsMax,
      memory: PROBE_BYTES,
      cpu: 1,
      processes: 1,
      disk: PROBE_DISK_BYTES,
      output: 1024,
      result: 1024,
      artifacts: 0,
    },
    output: { gate: 'stream' },
    capture: false,
    digest: 'probe',
    explain: [],
  }
}

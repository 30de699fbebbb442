import { systemClock } from '../contract/clock.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider, Task } from '../contract/provider.ts'
import type { WallHandle } from './handle.ts'
import { ownProfile } from './own-profile.ts'
import { probeTenant } from './worker-spares.ts'
import { kind, probedSchema } from './wire.ts'
import { parseJson } from '../lib/parse-json.ts'

const PROBE_MS_MAX = 5_000
const PROBE_BYTES = 128 * 2 ** 20
/** Default scratch size of a job. */
const PROBE_DISK_BYTES = 64 * 2 ** 20
/** Errnos of the mechanism, none of which an attempt of the probe has for another reason. */
const refusalsOf = { seccomp: ['EPERM', 'ENOSYS'], seatbelt: ['EPERM', 'EACCES'] } as const
const hint = 'Run Mayfly on a Linux kernel with seccomp filters'

/**
 * Throws NO_JAIL unless the worker has a seccomp filter, or a profile of Seatbelt, and a memory watch, and unless that holds when
 * it is probed.
 */
export async function assertJailed(worker: WallHandle): Promise<void> {
  const { layers } = worker.wall
  const filter = layers.includes('seatbelt') ? 'seatbelt' : 'seccomp'
  const least = [filter, 'memory watch'].filter((layer) => !layers.includes(layer))
  if (least.length > 0) {
    const message = `Cannot jail a worker: ${least.join(' and ')} is missing`
    throw new MayflyError('NO_JAIL', message, { hint })
  }
  await holdsAgainstItself(worker, refusalsOf[filter])
}

/** Has the worker itself probe forbidden calls, as a guest after a V8 escape would; only an errno of the wall counts. */
async function holdsAgainstItself(worker: WallHandle, refusals: readonly string[]): Promise<void> {
  try {
    const request = { kind: kind.probe, payload: '', name: 'it' }
    const answer = await worker.ask(request, kind.probed, PROBE_MS_MAX)
    const answers = probedSchema.parse(parseJson(answer.toString()))
    const through = Object.entries(answers).filter(([, answer]) => !refusals.includes(answer))
    if (through.length === 0) return
    throw new Error(
      `the filter permits forbidden system calls: ${through.map(([call]) => call).join(', ')}`,
    )
  } catch (cause) {
    const message = `Cannot jail a worker: ${messageOf(cause)}`
    throw new MayflyError('NO_JAIL', message, { hint, cause })
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

function probeProfile(
  provider: Provider,
  { language, entry, lifeMsMax = PROBE_MS_MAX }: Probe,
): Profile {
  return ownProfile(provider, 'probe', {
    language,
    entry,
    floor: 1,
    image: 'builtin',
    tenant: probeTenant,
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
  })
}

import type { Control } from '../../contract/controls.ts'
import type { Emitter } from '../../contract/event.ts'
import type { Provider } from '../../contract/provider.ts'
import { newId } from '../../lib/id.ts'
import type { WardenClient } from '../../walls/client.ts'
import type { OpenFolders } from '../../walls/folder-calls.ts'
import { FramedSandbox } from '../../walls/framed-sandbox.ts'
import { WorkerSpares } from '../../walls/worker-spares.ts'
import type { OpenEgressPath } from '../../walls/egress-path.ts'
import { claimWorker, detectBy } from '../../walls/worker-claim.ts'
import {
  isolateSettings,
  webAssembly,
  workerGuest,
  type WorkerOptions,
} from '../../walls/worker-guest.ts'
import { probe } from './detect.ts'

export interface IsolateOptions {
  readonly warden: WardenClient
  readonly emitter: Emitter
  /** Spare isolates in each worker. */
  readonly spares: number
  readonly wallsMax: number
  /** True, the default, to always keep a spare worker without a tenant. */
  readonly keepReady?: boolean
  /** Opens the egress path; without it guests have no network, even if granted. */
  readonly openEgressPath?: OpenEgressPath
  /** Opens granted folders; without it guests have no folders, even if granted. */
  readonly openFolders?: OpenFolders
}

/** Memory limit of spare isolates in MiB; for a job with another limit an isolate is created on demand. */
export const spareMiB = 128

/** Controls that an isolate can close while it runs; it has no other controls. */
const tightens = [
  'network',
  'files',
  'io',
  'processes',
  'syscalls',
  'capabilities',
] as const satisfies Control[]

/** V8 isolates in jailed, disposable worker processes: strength 1, in about a quarter of a millisecond. */
export function createIsolateProvider(options: IsolateOptions): Provider {
  const { warden, emitter, openEgressPath, openFolders } = options
  const workers = new WorkerSpares({
    keepReady: true,
    ...options,
    program: 'isolated-vm',
    spareMiB,
  })
  const provider: Provider = {
    name: 'isolated-vm',
    tier: 'isolate',
    languages: ['js', 'ts'],
    enforces: ['network', 'files', 'memory', 'io', 'processes', 'syscalls', 'capabilities'],
    tightens,
    can: [
      'files',
      'modules',
      'batch',
      'trace',
      'calls',
      'session',
      'realm-session',
      ...(openEgressPath ? (['network'] as const) : []),
      ...(openFolders ? (['folder-calls'] as const) : []),
    ],
    detect: detectBy(() => probe(provider, workers), 1),
    async launch(profile) {
      const claimed = await claimWorker(workers, warden, profile)
      const give: WorkerOptions['give'] = (handle, clears) => workers.give(handle, clears)
      const settings = isolateSettings(profile)
      const parts = { provider: provider.name, profile, warden, emitter, ...claimed }
      const egress = {
        ...(openEgressPath && { openEgressPath }),
        ...(openFolders && { openFolders }),
      }
      const guest = workerGuest({
        give,
        settings,
        ...egress,
        heldCapabilities: [webAssembly],
        hasSessions: true,
      })
      return new FramedSandbox(newId('sbx'), parts, guest)
    },
    close: () => workers.close(),
  }
  return provider
}

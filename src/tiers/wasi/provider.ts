import type { Emitter } from '../../contract/event.ts'
import type { Provider } from '../../contract/provider.ts'
import { newId } from '../../lib/id.ts'
import type { WardenClient } from '../../walls/client.ts'
import { FramedSandbox } from '../../walls/framed-sandbox.ts'
import { WorkerSpares } from '../../walls/worker-spares.ts'
import { claimWorker, detectBy } from '../../walls/worker-claim.ts'
import { workerGuest, type WorkerOptions } from '../../walls/worker-guest.ts'
import { probe } from './detect.ts'

export interface WasiOptions {
  readonly warden: WardenClient
  readonly emitter: Emitter
  readonly wallsMax: number
  /** True, the default, to always keep a spare worker without a tenant. */
  readonly keepReady?: boolean
}

/** No spare instances, because one is made in microseconds; the protocol requires a size. */
const noSpares = { spares: 0, spareMiB: 8 }

/**
 * WebAssembly modules in jailed, disposable worker processes: strength 2, because a module reaches only its own memory
 * and the few functions that it imports.
 */
export function createWasiProvider(options: WasiOptions): Provider {
  const { warden, emitter } = options
  const workers = new WorkerSpares({ keepReady: true, ...options, ...noSpares, program: 'wasi' })
  const provider: Provider = {
    name: 'wasi',
    tier: 'wasm',
    languages: ['wasm'],
    enforces: ['network', 'files', 'memory', 'io', 'processes', 'syscalls', 'capabilities'],
    tightens: ['network', 'files', 'io', 'processes', 'syscalls', 'capabilities'],
    can: ['stdin', 'instructions'],
    detect: detectBy(() => probe(provider, workers), 1),
    async launch(profile) {
      const claimed = await claimWorker(workers, warden, profile)
      const give: WorkerOptions['give'] = (handle, clears) => workers.give(handle, clears)
      const parts = { provider: provider.name, profile, warden, emitter, ...claimed }
      return new FramedSandbox(newId('sbx'), parts, workerGuest({ give, settings: {} }))
    },
    close: () => workers.close(),
  }
  return provider
}

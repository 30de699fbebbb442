import type {
  DeadEnclosure,
  Enclosure,
  EnclosureSpec,
  Engine,
  EngineFacts,
  EngineHost,
  EngineOptions,
} from '../../../contract/engine.ts'
import { closing, noJail } from '../../refusals.ts'
import { sweepDead } from '../sweep.ts'
import type { MachineStarter } from './start.ts'

/**
 * Walls that are virtual machines: each program runs on a kernel of its own, behind a hypervisor that is jailed itself.
 *
 * Start of a wall: take a machine of its key from the source (`source.ts`: a cold boot or a clone), with a runner parked in
 * it; measure. Claim: give the guest's agent a seed, the time and limits, and bound the hypervisor's cgroup. End: the guest's
 * runner exits and the carrier has delivered everything, or the warden kills QEMU; either way the machine ends with it.
 *
 * What a guest says (its exit code, its processes) is used for display and for how a job is told. Memory, CPU time and the end
 * of a wall come from this machine's kernel. Bytes of the job flow from QEMU to the server on a socket pair.
 *
 * Relies on QEMU 8.2, bubblewrap, the images of the store. Not handled here: system calls by the phase of a life, zones inside.
 */
export function openQemu(options: EngineOptions, host: EngineHost): Engine {
  return new QemuEngine(options, host)
}

const sampleEveryMs = 10

class QemuEngine implements Engine {
  readonly name = 'qemu'
  readonly #options: EngineOptions
  readonly #host: EngineHost
  #starter: Promise<MachineStarter> | undefined
  #isClosed = false

  constructor(options: EngineOptions, host: EngineHost) {
    this.#options = options
    this.#host = host
  }

  /** Probes nothing: the warden calls it for each engine before its first wall, and few servers use this one. */
  detect(): EngineFacts {
    return { root: process.getuid?.() === 0, sampleEveryMs }
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    if (process.platform !== 'linux') throw noJail(process.platform)
    this.#starter ??= this.#load()
    const starter = await this.#starter
    if (this.#isClosed) throw closing()
    return await starter.start(spec)
  }

  sweep(dead: readonly DeadEnclosure[]): void {
    sweepDead(dead)
  }

  /** No machine is without a lease: it is written before the fork. */
  sweepOrphans(): void {}

  async close(): Promise<void> {
    this.#isClosed = true
    await (await this.#starter)?.close()
  }

  async #load(): Promise<MachineStarter> {
    const { MachineStarter: Starter } = await import('./start.ts')
    return new Starter(this.#options, this.#host)
  }
}

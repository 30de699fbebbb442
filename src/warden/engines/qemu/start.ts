import type {
  Enclosure,
  EnclosureSpec,
  EngineHost,
  EngineOptions,
} from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import { wallUids } from '../../../contract/uids.ts'
import { openCgroups } from '../../../os/cgroup.ts'
import { mappedUids } from '../../../os/proc.ts'
import { closing } from '../../refusals.ts'
import { Clones } from './clones.ts'
import { ColdBoots } from './cold-boot.ts'
import { QemuEnclosure } from './enclosure.ts'
import { machineMiB } from './memory-size.ts'
import type { MachineHost } from './process.ts'
import type { MachineKey, MachineSource } from './source.ts'

const DISK_BYTES = 64 * 2 ** 20

/** Starts walls; loaded with the first of them. */
export class MachineStarter {
  readonly #cold: ColdBoots
  readonly #source: MachineSource
  readonly #hasCgroups: boolean
  #isClosed = false

  constructor(options: EngineOptions, host: EngineHost) {
    const machineHost = machineHostOf(options, host)
    this.#hasCgroups = machineHost.cgroups !== undefined
    const state = async () => options.imageState ?? (await host.state())
    this.#cold = new ColdBoots({ host: machineHost, options, state })
    const hasTemplates = options.templates !== 'off'
    this.#source = hasTemplates
      ? new Clones({ cold: this.#cold, host: machineHost, options })
      : this.#cold
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    const began = performance.now()
    if (this.#isClosed) throw closing()
    const machine = await this.#source.take(keyOf(spec))
    try {
      if (this.#isClosed) throw closing()
      return new QemuEnclosure(machine, {
        program: spec.program,
        disk: spec.disk ?? DISK_BYTES,
        tookMs: performance.now() - began,
        isBounded: this.#hasCgroups,
      })
    } catch (error) {
      await machine.release()
      throw error
    }
  }

  /** Kills starts in flight and waits for them. */
  async close(): Promise<void> {
    this.#isClosed = true
    // Takers of clones may be waiting for a boot.
    await Promise.all([this.#source.close(), this.#cold.close()])
  }
}

function machineHostOf({ hide = [], without = [] }: EngineOptions, host: EngineHost): MachineHost {
  const hasNoCgroup = without.includes('memory cgroup') || hide.includes('cgroup')
  return {
    cgroups: hasNoCgroup ? undefined : openCgroups(),
    isRoot: process.getuid?.() === 0 && mappedUids() > wallUids.last && !hide.includes('root'),
    lease: (id, remains) => host.lease(id, remains),
    releaseLease: (id) => host.releaseLease(id),
  }
}

/** Throws MayflyError UNAVAILABLE for what no machine has. */
function keyOf({
  program,
  spares,
  disk = DISK_BYTES,
  usual,
  layers = [],
}: EnclosureSpec): MachineKey {
  if (program !== 'node' && program !== 'python')
    throw new MayflyError('UNAVAILABLE', `Cannot start program "${program}": no machine runs it`)
  if (layers.length > 0)
    throw new MayflyError('UNAVAILABLE', 'Cannot mount packages: a machine has those of its image')
  const memoryMiB = machineMiB({ disk, memory: usual?.memory })
  return { program, isWarm: spares > 0, memoryMiB, scratchBytes: disk }
}

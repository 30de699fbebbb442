import type {
  ClaimBounds,
  ClaimReadBack,
  Enclosure,
  EnclosureBounds,
  EnclosureEnd,
  EnclosureSockets,
  MemorySample,
} from '../../../contract/engine.ts'
import type { BoundMechanisms, Wall, WallUsage } from '../../../contract/warden.ts'
import { MachineEnclosure } from './machine-enclosure.ts'
import { bindCpu } from '../group-bounds.ts'
import { spentMs } from './bounds.ts'
import { bubblewrapLayers } from './jail-command.ts'
import type { ResumedMachine } from './source.ts'

/**
 * A machine that was resumed from a save, for an analyst. It has no job: its claim sets a deadline and a share of the processor, and the
 * socket that is handed over leads to its agent, which makes the guest unique first.
 *
 * Quarantine: the channel of the job stays with the warden, which never reads it. So no server answers a stream, a call or a
 * connection of the guest, and each waits.
 *
 * Bounds: memory is that of its cgroup from the start (`process.ts` of its engine); without one the sampler ends it above that size. It
 * starts stopped, and is resumed by a thaw.
 */
export class ResumedEnclosure extends MachineEnclosure implements Enclosure {
  readonly wall: Wall
  /** Resolved by no part: a machine that ends by itself has `ended`. */
  readonly lost = new Promise<void>(() => undefined)
  readonly ended: Promise<EnclosureEnd>
  readonly #machine: ResumedMachine
  readonly #bytesMax: number

  constructor(
    machine: ResumedMachine,
    { layers, isBounded }: { readonly layers: readonly string[]; readonly isBounded: boolean },
  ) {
    super(machine)
    this.#machine = machine
    this.#bytesMax = (machine.save.memoryMiB + OWN_MIB) * 2 ** 20
    const { id, uid, processes } = machine.process
    const { program, mechanism, image } = machine.save
    this.wall = {
      id,
      program,
      pid: processes[0]!.pid,
      mechanism,
      layers: [
        ...layers,
        'own kernel',
        'no egress path',
        ...bubblewrapLayers,
        ...(uid === undefined ? [] : ['own uid']),
        ...(isBounded ? ['memory cgroup'] : []),
        'memory watch',
      ],
      missing: isBounded ? [] : ['memory cgroup: memory is held by a look every 10 ms alone'],
      calls: [],
      image,
      isCarried: true,
      idleBytes: this.idleBytes,
      took: 0,
    }
    this.ended = this.#end()
  }

  handOver(): EnclosureSockets {
    return { handle: this.#machine.takeAgentChannel() }
  }

  async claim({ cpu }: ClaimBounds): Promise<ClaimReadBack> {
    const { cgroup } = this.#machine.process
    const enforced: BoundMechanisms = {
      memory: cgroup ? 'cgroup' : 'watch',
      processes: 'none',
      cpu: bindCpu(cgroup, cpu) === 'cgroup' ? 'cgroup' : 'none',
      io: 'none',
    }
    return { spent: false, enforced, bytes: this.idleBytes, idleBytes: this.idleBytes }
  }

  async tighten(bounds: EnclosureBounds): Promise<BoundMechanisms> {
    return (await this.claim(bounds)).enforced
  }

  async freeze(): Promise<number> {
    const began = performance.now()
    await this.#machine.process.freeze()
    return performance.now() - began
  }

  async thaw(): Promise<void> {
    await this.#machine.process.thaw()
  }

  sample(): MemorySample {
    const bytes = this.#machine.process.memory()
    return { bytes, bytesMax: this.#bytesMax, isOutOfMemory: this.isOutOfMemory() }
  }

  isOutOfMemory(): boolean {
    return this.memoryKills > 0
  }

  cpuTime() {
    const sinceStartMs = spentMs(this.#machine.process)
    return { sinceStartMs, sinceClaimMs: sinceStartMs }
  }

  async usage(): Promise<WallUsage> {
    return this.usageWith(0)
  }

  async #end(): Promise<EnclosureEnd> {
    const { exitCode, signal, said } = await this.#machine.process.ended
    const detail = said.trim() || `it ended (${exitCode ?? signal ?? 'unknown'})`
    const isOutOfMemory = this.isOutOfMemory()
    return { isOutOfMemory, detail, exit: { exitCode, signal, cpuMs: null } }
  }
}

/** Memory of the process that holds a guest, beside that of the guest. */
const OWN_MIB = 256

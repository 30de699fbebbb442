import type {
  Enclosure,
  EnclosureSpec,
  EngineHost,
  EngineOptions,
  Resumption,
} from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { MachineSave } from '../../../contract/machine-save.ts'
import { closing } from '../../refusals.ts'
import { withoutSaves } from '../lazy-engine.ts'
import { groupsOfHost, hasWallUids } from '../host-powers.ts'
import { GuestEnclosure, guestUser, type GuestWallKind } from './enclosure.ts'
import type { GuestHost } from './jailed-guest.ts'
import { machineMiB } from './memory-size.ts'
import { PolicyCompiler } from './policy-compiler.ts'
import { ResumedEnclosure } from './resumed-enclosure.ts'
import type { IncomingMachine, MachineKey, MachineSource } from './source.ts'

const DISK_BYTES = 64 * 2 ** 20

/** Differences between engines whose guests have an agent. */
export interface GuestEngineParts {
  readonly kind: GuestWallKind
  openSource(parts: {
    readonly host: GuestHost
    readonly options: EngineOptions
    /** State folder, whose images are booted. */
    readonly state: () => Promise<string>
    readonly policies: PolicyCompiler
  }): MachineSource
}

/**
 * Starts walls that are guests with a kernel of their own and an agent, in a jailed host process; loaded at the first start.
 *
 * Start of a wall: take a guest of the requested key, with a parked runner, from the source (`source.ts`), and measure it. Claim:
 * send the agent a seed, the time and limits, and limit the cgroup. End: the runner has exited and the carrier has delivered
 * all output, or the warden kills the process; the guest ends with it in both cases.
 *
 * Reports of a guest (exit code, processes) are used only for display and for the text of an outcome. Memory, CPU time and the
 * end of a wall come from the host's kernel. Data of the job flows to the server on a socket pair.
 *
 * Relies on the images of the store. Not handled here: classes of system calls (`agent-calls.ts`), zones of
 * programs (`agent-zones.ts`).
 */
export class GuestStarter {
  readonly #source: MachineSource
  readonly #kind: GuestWallKind
  readonly #hasCgroups: boolean
  readonly #policies: PolicyCompiler
  readonly #report: EngineHost['report']
  readonly #without: readonly string[]
  #isClosed = false

  constructor(parts: GuestEngineParts, options: EngineOptions, host: EngineHost) {
    const guestHost = guestHostOf(options, host)
    this.#kind = parts.kind
    this.#hasCgroups = guestHost.cgroups !== undefined
    const state = async () => options.imageState ?? (await host.state())
    this.#report = (report) => host.report(report)
    this.#without = options.without ?? []
    this.#policies = new PolicyCompiler(options.hide)
    this.#source = parts.openSource({ host: guestHost, options, state, policies: this.#policies })
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    const began = performance.now()
    if (this.#isClosed) throw closing()
    const key = keyOf(spec, this.#without)
    const machine = await this.#source.take(key)
    try {
      if (this.#isClosed) throw closing()
      return new GuestEnclosure(machine, {
        program: spec.program,
        key,
        disk: spec.disk ?? DISK_BYTES,
        tookMs: performance.now() - began,
        isBounded: this.#hasCgroups,
        kind: this.#kind,
        policies: this.#policies,
        report: this.#report,
      })
    } catch (error) {
      await machine.release()
      throw error
    }
  }

  /** Throws MayflyError UNAVAILABLE where machines of this kind are not saved. */
  async resume(save: MachineSave): Promise<Resumption> {
    if (this.#isClosed) throw closing()
    const { mechanism, layers } = this.#kind
    const incoming = await this.#source.resume?.(save)
    if (!incoming) throw withoutSaves(mechanism)
    return { socket: incoming.socket, resumed: this.#resumed(incoming, layers) }
  }

  async #resumed({ resumed }: IncomingMachine, layers: readonly string[]): Promise<Enclosure> {
    const machine = await resumed
    return new ResumedEnclosure(machine, { layers, isBounded: this.#hasCgroups })
  }

  /** Kills starts in flight and waits for them. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#source.close()
  }
}

function guestHostOf(options: EngineOptions, host: EngineHost): GuestHost {
  return {
    cgroups: groupsOfHost(options),
    isRoot: hasWallUids(options),
    lease: (id, remains) => host.lease(id, remains),
    releaseLease: (id) => host.releaseLease(id),
  }
}

/** Throws MayflyError UNAVAILABLE for programs and layers that no machine has. */
function keyOf(
  { program, spares, disk = DISK_BYTES, usual, layers = [], image }: EnclosureSpec,
  without: readonly string[],
): MachineKey {
  if (program !== 'node' && program !== 'python')
    throw new MayflyError(
      'UNAVAILABLE',
      `Cannot start program "${program}" in a machine: its images have no runner for it`,
    )
  if (layers.length > 0)
    throw new MayflyError(
      'UNAVAILABLE',
      'Cannot mount packages: a machine has only the packages of its image',
    )
  const memoryMiB = machineMiB({ disk, memory: usual?.memory })
  const own = {
    program,
    isWarm: spares > 0,
    memoryMiB,
    scratchBytes: disk,
    ...(without.includes(guestUser) && ({ isRoot: true } as const)),
    ...(without.includes('apparmor') && ({ isUnconfined: true } as const)),
  }
  return image === undefined ? own : { ...own, image }
}

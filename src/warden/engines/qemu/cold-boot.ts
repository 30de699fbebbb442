import type { EngineOptions } from '../../../contract/engine.ts'
import { machineBoot, type MachineBoot } from '../../../images/machine.ts'
import { cacheFolder } from '../../../lib/cache-folder.ts'
import { untilSuccess } from '../../../lib/until-success.ts'
import { BootFiles } from '../agent-guest/boot-files.ts'
import { bootGuest } from '../agent-guest/boot-guest.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { PolicyCompiler } from '../agent-guest/policy-compiler.ts'
import { findJailPrograms } from './jail.ts'
import { jobPort } from './machine.ts'
import { MachineCopy } from './machine-copy.ts'
import { cachedAccelerators, type AcceleratorFacts } from './probe.ts'
import { startMachine, type QemuProcess } from './process.ts'
import { findHypervisor } from './program.ts'
import type { LiveMachine, MachineKey, MachineSource } from '../agent-guest/source.ts'
import { StartingGuests } from '../agent-guest/starting-guests.ts'
import { noStarts, withTries } from '../start-tries.ts'

/**
 * Source of machines that boots each one: kernel, agent, carrier, runner, up to the runner's readiness message. Under TCG about
 * four seconds of CPU time before the runner, and four more for Node.
 *
 * A boot has a deadline and three attempts; a machine that failed to start is released before the next attempt. `close` kills
 * machines that are still booting.
 */
export interface ColdBootParts {
  readonly host: GuestHost
  readonly options: EngineOptions
  /** State folder, whose images are booted. */
  readonly state: () => Promise<string>
  readonly policies?: PolicyCompiler
  /** Folder for copies of images and for the cached probe result; by default the caches of this user. */
  readonly folder?: string
}

/** Limit of one attempt. An emulator on a busy machine may get a tenth of a processor. */
const BOOT_MS_MAX = 120_000

export class ColdBoots implements MachineSource<QemuProcess> {
  readonly counts = noStarts()
  readonly files: BootFiles<MachineBoot>
  readonly #parts: ColdBootParts
  readonly #takes = new StartingGuests<QemuProcess>()
  /** Accelerator proved by a boot, and the reason if it is not KVM. Throws MayflyError UNAVAILABLE. */
  readonly accelerator = untilSuccess(() => this.#prove())

  constructor(parts: ColdBootParts) {
    this.#parts = parts
    this.files = new BootFiles({
      state: parts.state,
      hide: parts.options.hide ?? [],
      folder: parts.folder,
      kernel: 'kernel',
      jobPort,
      policies: parts.policies ?? new PolicyCompiler(parts.options.hide),
      compose: machineBoot,
    })
  }

  take(key: MachineKey): Promise<LiveMachine<QemuProcess>> {
    return this.#takes.run(() => this.#take(key))
  }

  close(): Promise<void> {
    return this.#takes.close()
  }

  async #prove(): Promise<AcceleratorFacts> {
    const { host, options, folder = cacheFolder('machines') } = this.#parts
    // Beside that folder, not in it: only this user may read it.
    const proved = `${folder}-proved`
    const { hide = [] } = options
    const parts = { program: findHypervisor(hide), programs: findJailPrograms(hide), host }
    return await cachedAccelerators(parts, proved)
  }

  async #take(key: MachineKey): Promise<LiveMachine<QemuProcess>> {
    // Files first: missing images are reported without a probe.
    const boot = await this.files.of(key)
    const { accelerator } = await this.accelerator()
    return await withTries(async () => {
      this.#takes.refuseIfClosed()
      const { host, options } = this.#parts
      const { hide = [] } = options
      const { kernel, initrd, image, kernelArguments } = boot
      const machine = await startMachine(
        {
          program: findHypervisor(hide),
          programs: findJailPrograms(hide),
          spec: {
            accelerator,
            memoryMiB: key.memoryMiB,
            memory: 'anonymous',
            kernel: { words: kernelArguments },
            hasImage: true,
          },
          files: { kernel, initrd, image },
        },
        host,
      )
      return await bootGuest(machine, key, {
        takes: this.#takes,
        helloMsMax: BOOT_MS_MAX,
        go: () => machine.control.ask('cont'),
        image: boot.digests.image,
        copy: new MachineCopy({
          process: machine,
          program: key.program,
          spec: { accelerator, memoryMiB: key.memoryMiB },
          image: boot.digests.image,
        }),
      })
    }, this.counts)
  }
}

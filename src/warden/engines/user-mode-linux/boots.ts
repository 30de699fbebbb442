import path from 'node:path'
import type { EngineOptions } from '../../../contract/engine.ts'
import { agentArguments, rootBoot, type RootBoot } from '../../../images/machine.ts'
import { cacheFolder } from '../../../lib/cache-folder.ts'
import { untilSuccess } from '../../../lib/until-success.ts'
import { BootFiles } from '../agent-guest/boot-files.ts'
import { bootGuest } from '../agent-guest/boot-guest.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { guestProgram } from '../agent-guest/guest-program.ts'
import { jobDescriptor } from '../agent-guest/runner.ts'
import type { LiveMachine, MachineKey, MachineSource } from '../agent-guest/source.ts'
import { StartingGuests } from '../agent-guest/starting-guests.ts'
import { KernelCopy } from './kernel-copy.ts'
import { jobLine } from './machine.ts'
import { cachedUserKernel, type UserKernelFacts } from './probe.ts'
import { startUserKernel, type UserKernelProcess } from './process.ts'
import { bootModules, findKernelJailPrograms, findUserKernel } from './program.ts'

/**
 * Guests of user-mode kernels, each booted for one job: kernel and agent in about 60 ms, then carrier and runner. There are no
 * templates and clones: a boot costs a tenth of the start of a runner, and each guest generates its own seeds at boot.
 *
 * A boot has a deadline; a guest that failed to start is released before the error is thrown. `close` ends boots in flight.
 */
export interface UserKernelBootsParts {
  readonly host: GuestHost
  readonly options: EngineOptions
  /** State folder, whose images are booted. */
  readonly state: () => Promise<string>
  /** Folder for copies of images; by default the cache of this user. */
  readonly folder?: string
}

const BOOT_MS_MAX = 60_000

export class UserKernelBoots implements MachineSource<UserKernelProcess> {
  readonly files: BootFiles<RootBoot>
  readonly #parts: UserKernelBootsParts
  readonly #takes = new StartingGuests<UserKernelProcess>()
  /** Facts about the kernel, proved by a boot. Throws MayflyError UNAVAILABLE. */
  readonly facts = untilSuccess(() => this.#prove())

  constructor(parts: UserKernelBootsParts) {
    this.#parts = parts
    const { hide = [] } = parts.options
    this.files = new BootFiles({
      state: parts.state,
      hide,
      folder: parts.folder,
      jobPort: jobLine,
      compose: (given) => rootBoot(given, bootModules(findUserKernel(hide))),
    })
  }

  /** Throws MayflyError UNAVAILABLE with cause and hint, OVERLOADED, and DRAINING after `close`. */
  take(key: MachineKey): Promise<LiveMachine<UserKernelProcess>> {
    return this.#takes.run(() => this.#take(key))
  }

  /** Ends boots in flight and waits for them; guests already taken belong to their callers. */
  close(): Promise<void> {
    return this.#takes.close()
  }

  async #prove(): Promise<UserKernelFacts> {
    const { host, options, folder = cacheFolder('machines') } = this.#parts
    const { hide = [] } = options
    const programs = { kernel: findUserKernel(hide), programs: findKernelJailPrograms(hide) }
    const agent = await guestProgram('agent', hide)
    return await cachedUserKernel({ ...programs, host, agent }, path.join(`${folder}-proved`))
  }

  async #take(key: MachineKey): Promise<LiveMachine<UserKernelProcess>> {
    // Files first: missing images are reported without a probe.
    const { initrd, image, digests } = await this.files.of(key)
    await this.facts()
    this.#takes.refuseIfClosed()
    const { host, options } = this.#parts
    const { hide = [] } = options
    const words = agentArguments({
      ports: { [jobDescriptor]: jobLine },
      scratchBytes: key.scratchBytes,
    })
    const spec = { memoryMiB: key.memoryMiB, lines: 1, hasImage: true, agentArguments: words }
    const parts = { kernel: findUserKernel(hide), programs: findKernelJailPrograms(hide) }
    const guest = startUserKernel({ ...parts, spec, initrd, image }, host)
    return await bootGuest(guest, key, {
      takes: this.#takes,
      helloMsMax: BOOT_MS_MAX,
      image: digests.image,
      up: () => guest.recordProcesses(),
      copy: new KernelCopy({
        pid: () => guest.kernelPid,
        memoryMiB: key.memoryMiB,
        image: digests.image,
      }),
    })
  }
}

import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { EngineOptions } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import { agentWords, rootBoot, type RootBoot } from '../../../images/machine.ts'
import { openInit } from '../../../jail/agent.ts'
import { cacheFolder } from '../../../lib/cache-folder.ts'
import { closing } from '../../refusals.ts'
import { AgentLink } from '../agent-guest/agent-link.ts'
import { BootFiles } from '../agent-guest/boot-files.ts'
import { startRunner } from '../agent-guest/start-runner.ts'
import { jobDescriptor } from '../agent-guest/runner.ts'
import type { LiveMachine, MachineKey, MachineSource } from '../agent-guest/source.ts'
import { jobLine } from './machine.ts'
import { cachedUserKernel, type UserKernelFacts } from './probe.ts'
import { startUserKernel, type KernelHost, type UserKernelProcess } from './process.ts'
import { bootModules, findKernelJailPrograms, findUserKernel } from './program.ts'

/**
 * Guests of user-mode kernels, each booted for one job: kernel and agent in some 60 ms, then carrier and runner. There is
 * no template and no clone: a boot costs a tenth of a runner's start, and each guest draws its own seeds as it boots.
 *
 * A boot has a time limit; a guest that did not come up is released before the error is thrown. Boots in flight end when
 * the source closes.
 */
export interface UserKernelBootsParts {
  readonly host: KernelHost
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
  readonly #booting = new Set<UserKernelProcess>()
  readonly #taking = new Set<Promise<unknown>>()
  #facts: Promise<UserKernelFacts> | undefined
  #isClosed = false

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
  async take(key: MachineKey): Promise<LiveMachine<UserKernelProcess>> {
    const taking = this.#take(key)
    this.#taking.add(taking)
    try {
      return await taking
    } finally {
      this.#taking.delete(taking)
    }
  }

  /** Ends boots in flight and waits for them; guests that were given out are their takers'. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const guest of this.#booting) guest.kill()
    await Promise.allSettled(this.#taking)
  }

  /** Facts of a kernel that was proved by a boot. Throws MayflyError UNAVAILABLE. */
  async facts(): Promise<UserKernelFacts> {
    this.#facts ??= this.#prove()
    try {
      return await this.#facts
    } catch (error) {
      this.#facts = undefined
      throw error
    }
  }

  async #prove(): Promise<UserKernelFacts> {
    const { host, options, folder = cacheFolder('machines') } = this.#parts
    const { hide = [] } = options
    const found = await openInit(hide)
    if ('missing' in found)
      throw new MayflyError('UNAVAILABLE', `Cannot make the agent of a guest: ${found.missing}`, {
        hint: 'Install a C compiler with a static libc: apt-get install gcc libc6-dev',
      })
    const programs = { kernel: findUserKernel(hide), programs: findKernelJailPrograms(hide) }
    const agent = readFileSync(found.file)
    return await cachedUserKernel({ ...programs, host, agent }, path.join(`${folder}-proved`))
  }

  async #take(key: MachineKey): Promise<LiveMachine<UserKernelProcess>> {
    // Files first: a machine without images is told at once, and needs no probe.
    const { initrd, image } = await this.files.of(key)
    await this.facts()
    if (this.#isClosed) throw closing()
    const { host, options } = this.#parts
    const { hide = [] } = options
    const words = agentWords({
      ports: { [jobDescriptor]: jobLine },
      scratchBytes: key.scratchBytes,
    })
    const spec = { memoryMiB: key.memoryMiB, lines: 1, hasImage: true, agentWords: words }
    const parts = { kernel: findUserKernel(hide), programs: findKernelJailPrograms(hide) }
    return await this.#boot(startUserKernel({ ...parts, spec, initrd, image }, host), key)
  }

  async #boot(guest: UserKernelProcess, key: MachineKey): Promise<LiveMachine<UserKernelProcess>> {
    this.#booting.add(guest)
    try {
      const agent = new AgentLink(guest.channel)
      await agent.take('hello', BOOT_MS_MAX)
      await startRunner(agent, key)
      guest.found()
      return {
        process: guest,
        agent,
        origin: 'boot',
        takeJobChannel: () => guest.takeJobChannel(),
        release: () => guest.release(),
      }
    } catch (error) {
      await guest.release()
      throw this.#isClosed ? closing() : guest.failed(error)
    } finally {
      this.#booting.delete(guest)
    }
  }
}

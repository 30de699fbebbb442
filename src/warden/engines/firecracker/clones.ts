import path from 'node:path'
import { statSync } from 'node:fs'
import type { EngineOptions } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import { vsockAgentPort, vsockBoot, type MachineBoot } from '../../../images/machine.ts'
import { canonicalJson } from '../../../lib/canonical-json.ts'
import { sha256 } from '../../../lib/hash.ts'
import { untilSuccess } from '../../../lib/until-success.ts'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import { renewAgent } from '../../../agent-wire/make-unique.ts'
import { BootFiles } from '../agent-guest/boot-files.ts'
import { liveMachine } from '../agent-guest/boot-guest.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { PolicyCompiler } from '../agent-guest/policy-compiler.ts'
import type { LiveMachine, MachineKey, MachineSource } from '../agent-guest/source.ts'
import { StartingGuests } from '../agent-guest/starting-guests.ts'
import { Templates } from '../agent-guest/templates.ts'
import { bootMachine, connectGuest, guestOf, jailNames, jobVsockPort } from './boot-machine.ts'
import { detectFirecracker, type MissingPart } from './detect.ts'
import { mayPass } from './api-client.ts'
import { failedStep, FirecrackerGuest } from './guest.ts'
import { placeShared } from './jail-files.ts'
import { startJailed, type FirecrackerPrograms } from './jailed-machine.ts'
import {
  makeTemplate,
  removeTemplate,
  savedNames,
  whyTemplateBroken,
  type FirecrackerTemplate,
} from './template.ts'
import { noStarts, withTries } from '../start-tries.ts'
import { keepsVsockOverPause } from './version.ts'

/**
 * Source of machines that loads each one from the snapshot of a template with a parked runner.
 *
 * The first machine of a key waits for its template, whose boot proves that Firecracker works here. After a failure it is not
 * retried for a minute, and each start fails with the same cause. A clone that fails to start is tried three times.
 *
 * Until its claim a clone has the same state as its template, including the kernel's random generator, and has run no code of a
 * job. Seed and clock are renewed once while it is parked, and again by the claim (`claimAgent`).
 *
 * Not handled: templates shared between wardens, copies of memory.
 */
export interface FirecrackerCloneParts {
  readonly host: GuestHost
  readonly options: EngineOptions
  /** State folder, whose images are booted. */
  readonly state: () => Promise<string>
  readonly policies?: PolicyCompiler
  /** Folder for copies of images; by default the cache of this user. */
  readonly folder?: string
  readonly jails?: string
}

interface CloneKey {
  readonly key: MachineKey
  readonly boot: MachineBoot
  readonly programs: FirecrackerPrograms
  readonly name: string
}

/** Firecracker's default. */
const JAILS = '/srv/jailer'
const ANSWER_MS_MAX = 30_000
const CONNECT_MS_MAX = 10_000

export class FirecrackerClones implements MachineSource<FirecrackerGuest> {
  readonly counts = noStarts()
  readonly files: BootFiles<MachineBoot>
  readonly #parts: FirecrackerCloneParts
  readonly #templates: Templates<CloneKey, FirecrackerTemplate>
  readonly #takes = new StartingGuests<{ kill(): void }>()
  /** Programs of this machine. Throws MayflyError UNAVAILABLE, which lists the missing parts. */
  readonly #found = untilSuccess(() => foundPrograms(this.#parts))

  constructor(parts: FirecrackerCloneParts) {
    this.#parts = parts
    const { state, folder, options, host, policies = new PolicyCompiler(options.hide) } = parts
    this.files = new BootFiles({
      state,
      folder,
      policies,
      hide: options.hide ?? [],
      kernel: 'kernel',
      jobPort: `vsock:${jobVsockPort}`,
      compose: vsockBoot,
    })
    this.#templates = new Templates<CloneKey, FirecrackerTemplate>({
      nameOf: ({ name }) => name,
      make: (key) => withTries(() => this.#make(key), this.counts, mayPass),
      remove: async (template) => removeTemplate(template, host),
      whyBroken: whyTemplateBroken,
      note: () => undefined,
      now: () => performance.now(),
    })
  }

  take(key: MachineKey): Promise<LiveMachine<FirecrackerGuest>> {
    return this.#takes.run(() => this.#take(key))
  }

  async close(): Promise<void> {
    await this.#takes.close()
    await this.#templates.close()
  }

  async #take(asked: MachineKey): Promise<LiveMachine<FirecrackerGuest>> {
    this.#takes.refuseIfClosed()
    const key = { ...asked, isWarm: true }
    // Checked first: without Firecracker a missing image does not matter.
    const programs = await this.#found()
    const boot = await this.files.of(key)
    if (this.#parts.options.templates === 'off')
      return await withTries(() => this.#boot(key, boot, programs), this.counts, mayPass)
    const cloneKey = { key, boot, programs, name: nameOf(key, boot, programs) }
    const template = await this.#templates.use(cloneKey)
    return await withTries(() => this.#clone(template), this.counts, mayPass)
  }

  async #make({ key, boot, programs }: CloneKey): Promise<FirecrackerTemplate> {
    this.#takes.refuseIfClosed()
    return await makeTemplate({ key, boot, programs, takes: this.#takes }, this.#parts.host)
  }

  async #boot(key: MachineKey, boot: MachineBoot, programs: FirecrackerPrograms) {
    this.#takes.refuseIfClosed()
    const parts = { key, boot, programs, takes: this.#takes, isTemplate: false }
    const booted = await bootMachine(parts, this.#parts.host)
    const { image } = boot.digests
    return liveMachine(await guestOf(booted), booted.agent, { origin: 'boot', image })
  }

  async #clone(template: FirecrackerTemplate): Promise<LiveMachine<FirecrackerGuest>> {
    this.#takes.refuseIfClosed()
    const why = whyTemplateBroken(template)
    if (why) throw new MayflyError('UNAVAILABLE', `Cannot clone a machine: ${why}`)
    const { memoryMiB, image, history } = template
    const machine = await startJailed(await this.#found(), this.#parts.host, {
      memoryMiB,
      fill(root) {
        placeShared(root, image, jailNames.rootDisk)
        placeShared(root, template.state, savedNames.state)
        placeShared(root, template.memory, savedNames.memory)
      },
    })
    using _starting = this.#takes.track({ kill: () => machine.signalKill() })
    try {
      await machine.load(savedNames)
      const channel = await connectGuest(machine, vsockAgentPort, CONNECT_MS_MAX)
      const agent = AgentLink.reconnect(channel, history)
      await agent.take('hello', ANSWER_MS_MAX)
      await renewAgent(agent, ANSWER_MS_MAX)
      const job = await connectGuest(machine, jobVsockPort, CONNECT_MS_MAX)
      const guest = new FirecrackerGuest(machine, channel, job)
      const digest = path.basename(image, '.image')
      return liveMachine(guest, agent, { origin: 'clone', image: digest })
    } catch (error) {
      await machine.kill()
      this.#takes.refuseIfClosed()
      throw failedStep('clone', error)
    }
  }
}

/** Name of a template: keys with equal names boot the same machine. */
function nameOf(
  { program, memoryMiB, scratchBytes }: MachineKey,
  boot: MachineBoot,
  { firecracker }: FirecrackerPrograms,
): string {
  const { size, mtimeMs } = statSync(firecracker)
  return sha256(canonicalJson({ program, memoryMiB, scratchBytes, boot: boot.key, size, mtimeMs }))
}

async function foundPrograms({
  options: { hide = [] },
  host,
  jails = JAILS,
}: FirecrackerCloneParts): Promise<FirecrackerPrograms> {
  const facts = await detectFirecracker({
    ...(hide.includes('firecracker') && { find: () => undefined }),
    ...(!host.isRoot && { isRoot: false }),
  })
  if (facts.kind === 'unavailable') throw unavailable(facts.causes)
  if (!keepsVsockOverPause(facts.version))
    throw unavailable([
      {
        cause: 'releases 1.16.0 and 1.16.1 break the vsock of a machine that was paused',
        fix: 'Install Firecracker 1.15.1, or a release after 1.16.1',
      },
    ])
  return { ...facts, jails }
}

function unavailable(parts: readonly MissingPart[]): MayflyError {
  const causes = parts.map(({ cause }) => cause.replace(/^The /, 'the ')).join('; ')
  const hint = [...new Set(parts.map(({ fix }) => fix))].join('; ')
  return new MayflyError('UNAVAILABLE', `Cannot use Firecracker: ${causes}`, { hint })
}

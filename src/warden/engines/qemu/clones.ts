import { open } from 'node:fs/promises'
import path from 'node:path'
import type { EngineOptions } from '../../../contract/engine.ts'
import { messageOf } from '../../../contract/error.ts'
import type { MachineBoot } from '../../../images/machine.ts'
import { canonicalJson } from '../../../lib/canonical-json.ts'
import { fileSha256 } from '../../../lib/file-sha256.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { startClone, type Clone } from './clone.ts'
import { StartingGuests } from '../agent-guest/starting-guests.ts'
import { startRunner } from '../agent-guest/start-runner.ts'
import type { ColdBoots } from './cold-boot.ts'
import { findJailPrograms } from './jail.ts'
import { forkableMachine } from './fork.ts'
import type { CopiedBase } from './machine-copy.ts'
import type { Accelerator } from './machine.ts'
import type { QemuProcess } from './process.ts'
import { findHypervisor } from './program.ts'
import type { LiveMachine, MachineKey, MachineSource } from '../agent-guest/source.ts'
import {
  makeTemplate,
  removeTemplate,
  templateKey,
  whyTemplateBroken,
  whyTemplateBytesBroken,
  type Template,
} from './template.ts'
import { NoRoomForTemplate, Templates, type TemplateBounds } from '../agent-guest/templates.ts'
import type { TemplateStore } from './template-store.ts'
import { isOfMachine, noStarts, withTries } from '../start-tries.ts'

/**
 * Source of machines that clones each one from a template with a parked runner. The first machine of a key waits for its
 * template, which takes as long as a cold boot; each later one takes a few hundredths of that.
 *
 * A clone that fails to start is tried three times. The template is hashed after each failure, and replaced if it has changed.
 * If no template can be made, the machine is booted, and reports the cause (`LiveMachine.whyBooted`).
 *
 * The server keeps the pool of parked clones: it requests machines ahead of demand, like all other walls.
 */
export interface CloneSourceParts {
  readonly cold: ColdBoots
  readonly host: GuestHost
  readonly options: EngineOptions
  /** Logs each template that is replaced, dropped or could not be made. */
  readonly note?: (cause: string) => void
  readonly bounds?: Partial<TemplateBounds>
  /** Store for templates of earlier wardens; without it templates are removed at `close`. */
  readonly store?: TemplateStore
}

interface CloneKey {
  readonly key: MachineKey
  readonly boot: MachineBoot
  readonly accelerator: Accelerator
  /** Result of `templateKey`. */
  readonly name: string
}

export class Clones implements MachineSource<QemuProcess> {
  readonly counts = noStarts()
  readonly templateCounts = noStarts()
  readonly #parts: CloneSourceParts
  readonly #templates: Templates<CloneKey, Template>
  readonly #takes = new StartingGuests<QemuProcess>()
  readonly #digests = new Map<string, Promise<string>>()

  constructor(parts: CloneSourceParts) {
    this.#parts = parts
    const { host, note = () => undefined, bounds, store } = parts
    this.#templates = new Templates<CloneKey, Template>({
      nameOf: ({ name }) => name,
      make: (key) => withTries(() => this.#make(key), this.templateCounts),
      remove: (template) => removeTemplate(template, host),
      ...(store && {
        recall: ({ name, key, boot, accelerator }) =>
          store.take({ key: name, memoryMiB: key.memoryMiB, accelerator, image: boot.image }, host),
        keep: (kept) => store.put(kept, host),
      }),
      whyBroken: whyTemplateBroken,
      note,
      now: () => performance.now(),
      ...(bounds && { bounds }),
    })
  }

  take(key: MachineKey): Promise<LiveMachine<QemuProcess>> {
    return this.#takes.run(() => this.#take(key))
  }

  /** Stores or removes templates too. The source of cold boots is closed by its opener. */
  async close(): Promise<void> {
    await this.#takes.close()
    await this.#templates.close()
  }

  async #take(key: MachineKey): Promise<LiveMachine<QemuProcess>> {
    this.#takes.refuseIfClosed()
    const { cold } = this.#parts
    try {
      const cloneKey = await this.#keyOf(key)
      return await withTries(() => this.#clone(cloneKey), this.counts)
    } catch (error) {
      this.#takes.refuseIfClosed()
      if (!isOfMachine(error) && !(error instanceof NoRoomForTemplate)) throw error
      // If the boot fails as well, its own error is thrown.
      return { ...(await cold.take(key)), whyBooted: messageOf(error) }
    }
  }

  /** Key of the template: always with a warm runner, also for urgent starts, so that one template serves all. */
  async #keyOf(asked: MachineKey): Promise<CloneKey> {
    const key = { ...asked, isWarm: true }
    const { cold, options } = this.#parts
    const { accelerator } = await cold.accelerator()
    const boot = await cold.files.of(key)
    const program = await this.#digestOf(findHypervisor(options.hide).file)
    // The key of the boot files covers the image, which was requested by tag or digest.
    const { image: _, ...warmed } = key
    const warm = canonicalJson(warmed)
    const { memoryMiB } = key
    const name = templateKey({ accelerator, memoryMiB }, { boot: boot.key, program, warm })
    return { key, boot, accelerator, name }
  }

  async #clone(cloneKey: CloneKey): Promise<LiveMachine<QemuProcess>> {
    this.#takes.refuseIfClosed()
    const template = await this.#templates.use(cloneKey)
    let started: QemuProcess | undefined
    const onStep = (_step: string, machine: QemuProcess) => {
      started = machine
      this.#takes.track(machine)
    }
    const base = await openBase(template)
    try {
      const { machine, agent } = await startClone(
        { ...this.#programs(), template, onStep },
        this.#parts.host,
      )
      return this.#machineOf(cloneKey, { template, base, machine, agent })
    } catch (error) {
      await base.file.close()
      const why = await whyTemplateBytesBroken(template)
      if (why) this.#templates.drop(cloneKey, template, why)
      throw error
    } finally {
      if (started) this.#takes.forget(started)
    }
  }

  /** Machine of a clone; keeps the memory file of its template open. */
  #machineOf(
    { key }: CloneKey,
    {
      template,
      base,
      machine,
      agent,
    }: Clone & { readonly template: Template; readonly base: CopiedBase },
  ): LiveMachine<QemuProcess> {
    const { host, options } = this.#parts
    const { image, accelerator, memoryMiB } = template
    const parts = { host, options, takes: this.#takes, process: machine, base }
    const { program } = key
    const spec = { accelerator, memoryMiB }
    const digest = path.basename(image, '.image')
    return forkableMachine({ ...parts, program, spec, image, digest, inherited: [] }, agent)
  }

  async #make({ key, boot, accelerator, name }: CloneKey): Promise<Template> {
    this.#takes.refuseIfClosed()
    const { kernel, initrd, image, kernelArguments } = boot
    let started: QemuProcess | undefined
    try {
      return await makeTemplate(
        {
          ...this.#programs(),
          key: name,
          accelerator,
          memoryMiB: key.memoryMiB,
          boot: { kernel, initrd, image },
          kernelArguments,
          warm: (agent) => startRunner(agent, key, true),
          onStep: (_step, machine) => {
            started = machine
            this.#takes.track(machine)
          },
        },
        this.#parts.host,
      )
    } finally {
      if (started) this.#takes.forget(started)
    }
  }

  #programs() {
    const { hide } = this.#parts.options
    return { program: findHypervisor(hide), programs: findJailPrograms(hide) }
  }

  /** Hashes each file once per warden: an update of QEMU takes effect with the next warden. */
  async #digestOf(file: string): Promise<string> {
    const digest = this.#digests.get(file) ?? fileSha256(file)
    this.#digests.set(file, digest)
    return await digest
  }
}

async function openBase({ memory }: Template): Promise<CopiedBase> {
  const { path: file, sha256 } = memory
  return { file: await open(file), path: file, sha256 }
}

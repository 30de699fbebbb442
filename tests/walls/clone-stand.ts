import { ColdBoots } from '../../src/warden/engines/qemu/cold-boot.ts'
import { claimAgent } from '../../src/agent-wire/make-unique.ts'
import { startClone, type Clone, type CloneParts } from '../../src/warden/engines/qemu/clone.ts'
import type { MachineKey } from '../../src/warden/engines/agent-guest/source.ts'
import {
  makeTemplate,
  removeTemplate,
  templateKey,
  type Template,
  type MachineTemplateParts,
} from '../../src/warden/engines/qemu/template.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { isQemuThere, guestHost, machinePrograms, noQemu } from './qemu-here.ts'

/** State folder with images, or the reason why no clone can be made here. */
export async function cloneState() {
  return isQemuThere() ? await machineState() : { missing: noQemu }
}

/** Templates of the images of a state folder, and clones of them. */
export class CloneStand {
  /** Ids of all walls leased so far. */
  readonly leased = new Set<string>()
  readonly host = this.#hostOf(guestHost())
  readonly programs = machinePrograms()
  readonly #cold: ColdBoots
  readonly #templates: Template[] = []
  readonly #clones: Clone[] = []

  constructor(state: string) {
    this.#cold = new ColdBoots({ host: this.host, options: {}, state: async () => state })
  }

  #hostOf(host: ReturnType<typeof guestHost>): ReturnType<typeof guestHost> {
    const lease: typeof host.lease = (id, remains) => {
      this.leased.add(id)
      host.lease(id, remains)
    }
    return { ...host, lease }
  }

  async partsOf(
    program: MachineKey['program'],
    more: Partial<MachineTemplateParts> = {},
  ): Promise<MachineTemplateParts> {
    const scratchBytes = 2 ** 26
    const boot = await this.#cold.files.of({ program, scratchBytes })
    const spec = { accelerator: 'tcg', memoryMiB: 256 } as const
    const key = templateKey(spec, { boot: boot.key, program: '', warm: '' })
    const { kernelArguments } = boot
    return { ...this.programs, ...spec, key, boot, kernelArguments, ...more }
  }

  async template(
    image: MachineKey['program'],
    more: Partial<MachineTemplateParts> = {},
  ): Promise<Template> {
    const template = await makeTemplate(await this.partsOf(image, more), this.host)
    this.#templates.push(template)
    return template
  }

  async clone(template: Template, more: Partial<CloneParts> = {}): Promise<Clone> {
    const clone = await startClone({ ...this.programs, template, ...more }, this.host)
    this.#clones.push(clone)
    return clone
  }

  /** Ends clones and templates. */
  async clear(): Promise<void> {
    await Promise.all(this.#clones.splice(0).map(({ machine }) => machine.release()))
    for (const template of this.#templates.splice(0)) await removeTemplate(template, this.host)
  }
}

const CLAIM_MS_MAX = 60_000
let claims = 0

/** Claims a clone with its own host name. */
export async function claimed({ agent }: Pick<Clone, 'agent'>) {
  const hostname = `clone-${++claims}`
  const claim = { id: `job-${claims}`, hostname, limits: {}, labels: {} }
  return { hostname, ...(await claimAgent(agent, claim, CLAIM_MS_MAX)) }
}

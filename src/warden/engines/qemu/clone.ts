import { MayflyError } from '../../../contract/error.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import { renewAgent } from '../../../agent-wire/make-unique.ts'
import { machinePaths } from './machine.ts'
import { Migrations } from './migrations.ts'
import { startMachine, type MachineStart, type QemuProcess } from './process.ts'
import { cloneSpec, whyTemplateBroken, type Template } from './template.ts'

/**
 * Clones of a template. A clone is a new QEMU in a jail of its own that maps the template's memory privately (copy-on-write),
 * loads the state of the devices, and resumes where the template was paused.
 *
 * Until its claim a clone has the same state as its template, including the kernel's random generator, so no code of a job may
 * run before. QEMU gives each clone a new generation id, at which the kernel reseeds; the claim does not rely on that: it adds 64
 * bytes of this host's generator with entropy credit, the kernel reseeds, and only then the boot id is generated. A claim succeeds
 * if its answer has the digest of its seed and no step failed; otherwise the clone is killed. Random state in processes of the
 * template (`Math.random` of a warm runtime) cannot be renewed by the agent: the runner reseeds it.
 *
 * A parked clone has exchanged messages with its host, so that code of the first job is already translated (TCG), and pages are copied.
 *
 * Not handled: the refill of a pool.
 */
export interface Clone {
  readonly machine: QemuProcess
  readonly agent: AgentLink
}

export interface CloneParts extends Pick<MachineStart, 'program' | 'programs'> {
  readonly template: Template
  /** Called after each step, for measurements and tests. */
  readonly onStep?: (step: CloneStep, machine: QemuProcess) => void
  readonly restoreMsMax?: number
}

export const cloneSteps = ['started', 'restored', 'running', 'waiting'] as const
export type CloneStep = (typeof cloneSteps)[number]

const RESTORE_MS_MAX = 60_000
const ANSWER_MS_MAX = 30_000

/** Starts a clone that waits for its claim. Releases everything before it throws MayflyError UNAVAILABLE, PROTOCOL or OVERLOADED. */
export async function startClone(parts: CloneParts, host: GuestHost): Promise<Clone> {
  const { template, program, programs, onStep = () => undefined } = parts
  const why = whyTemplateBroken(template)
  if (why)
    throw new MayflyError('UNAVAILABLE', `Cannot clone a machine: ${why}`, {
      hint: 'Find the program that writes to the folders of walls; the template is replaced automatically',
    })
  const migrations = new Migrations()
  const { onEvent } = migrations
  const files = { image: template.image, template: template.folder }
  const spec = cloneSpec(template)
  const machine = await startMachine({ program, programs, spec, files, onEvent }, host)
  try {
    onStep('started', machine)
    const agent = AgentLink.resume(machine.channel, template.history)
    const { restoreMsMax: msMax = RESTORE_MS_MAX } = parts
    await migrations.prepare(machine.control, msMax)
    await migrations.restore(machine.control, `file:${machinePaths.templateState}`, msMax)
    onStep('restored', machine)
    await machine.control.ask('cont')
    onStep('running', machine)
    await renewAgent(agent, ANSWER_MS_MAX)
    onStep('waiting', machine)
    return { machine, agent }
  } catch (error) {
    await machine.release()
    throw machine.startError(error)
  }
}

import { MayflyError } from '../../../contract/error.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import { renewAgent } from '../../../agent-wire/agent-questions.ts'
import { machinePaths } from './machine.ts'
import { Migrations } from './migrations.ts'
import { startMachine, type MachineStart, type QemuProcess } from './process.ts'
import { cloneSpec, whyTemplateBroken, type Template } from './template.ts'

/**
 * Clones of a template. A clone is a new QEMU in a jail of its own that maps the template's memory privately
 * (copy-on-write), reads the state of the devices, and goes on where the template stood.
 *
 * Until its claim a clone is its template's twin down to the state of its kernel's generator, so nothing of a job may run
 * before. QEMU gives each one a generation id of its own, at which the kernel reseeds by itself; the claim does not rely on
 * that: 64 bytes of this host's generator are added with credit, the kernel reseeds, and only then the boot id is drawn.
 * A claim counts if its answer has the digest of its seed and each step was done; a clone of which a step was refused is
 * ended. State that a process of the template drew before (`Math.random` of a warm runtime) is out of the agent's reach: its
 * runner draws anew.
 *
 * A waiting clone has spoken: code that a machine runs first is translated then (TCG), and pages are copied.
 *
 * A machine that stood still has a clock that is behind: `resumeClone` renews it, and the seed with it.
 *
 * Does not handle: the refill of a pool.
 */
export interface Clone {
  readonly machine: QemuProcess
  readonly agent: AgentLink
}

export interface CloneParts extends Pick<MachineStart, 'program' | 'programs'> {
  readonly template: Template
  /** Speaks to the runner that the template left waiting. */
  readonly warm?: (agent: AgentLink, machine: QemuProcess) => Promise<void>
  /** Called after each step, for figures and for tests. */
  readonly onStep?: (step: CloneStep, machine: QemuProcess) => void
  readonly restoreMsMax?: number
}

export const cloneSteps = ['started', 'restored', 'running', 'waiting'] as const
export type CloneStep = (typeof cloneSteps)[number]

const RESTORE_MS_MAX = 60_000
const ANSWER_MS_MAX = 30_000

/** Restores a clone that waits for its claim. Throws MayflyError UNAVAILABLE, PROTOCOL and OVERLOADED; nothing is left then. */
export async function startClone(parts: CloneParts, host: GuestHost): Promise<Clone> {
  const { template, program, programs, onStep = () => undefined } = parts
  const why = whyTemplateBroken(template)
  if (why)
    throw new MayflyError('UNAVAILABLE', `Cannot clone a machine: ${why}`, {
      hint: 'Find out what writes to the folders of walls; another template is made by itself',
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
    await parts.warm?.(agent, machine)
    onStep('waiting', machine)
    return { machine, agent }
  } catch (error) {
    await machine.release()
    throw machine.failed(error)
  }
}

/** Stands it still. */
export async function pauseClone({ machine }: Clone): Promise<void> {
  await machine.control.ask('stop')
}

/** Lets it go on, with seed and clock renewed. Throws MayflyError PROTOCOL: the caller ends it then. */
export async function resumeClone({ machine, agent }: Clone, msMax = ANSWER_MS_MAX): Promise<void> {
  await machine.control.ask('cont')
  await renewAgent(agent, msMax)
}

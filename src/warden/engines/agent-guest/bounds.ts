import assert from 'node:assert/strict'
import type {
  ClaimBounds,
  ClaimReadBack,
  EnclosureBounds,
  MemorySample,
} from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { BoundMechanisms } from '../../../contract/warden.ts'
import { pageUp } from '../group-memory.ts'
import { allowanceBytes } from './memory-size.ts'
import { claimAgent } from './agent-questions.ts'
import { spentMs } from './measure.ts'
import type { LiveMachine } from './source.ts'

/** State of a machine's job. */
export interface MachineJob {
  readonly machine: LiveMachine
  readonly disk: number
  /** Tasks of the runner itself. */
  readonly ownTasks: number
  /** Bytes in use before any job. */
  readonly idleBytes: number
  held: HeldBounds | undefined
  killsAtClaim: number
  /** Milliseconds of CPU time before its job, and as last read before its end. */
  spentBefore: number
  spentSeen: number
}

interface HeldBounds extends EnclosureBounds {
  /** Bytes above which the wall is ended. */
  readonly usedMax: number
}

/** An emulator on a busy machine answers late; the caller has a limit of its own. */
const AGENT_MS_MAX = 10_000
/** Tasks of a job that asks for no bound. */
const TASKS_MAX = 256

/** Makes the guest unique, and holds it to a job's bounds. Throws MayflyError PROTOCOL where a step was not done. */
export async function claim(job: MachineJob, asked: ClaimBounds): Promise<ClaimReadBack> {
  const { machine, idleBytes, disk } = job
  const bytes = machine.process.memory()
  const usedMax = bytes + asked.memory + disk + allowanceBytes
  machine.process.cgroup?.limit({ memory: pageUp(usedMax) })
  const enforced = bind(job, asked)
  await claimGuest(machine, tasksOf(job, asked))
  job.killsAtClaim = machine.process.cgroup?.memoryKills() ?? 0
  job.spentBefore = spentMs(machine.process)
  job.held = { ...asked, usedMax }
  return { spent: false, enforced, bytes, idleBytes }
}

/** A name of its own too: a guest may write it into what it makes. */
async function claimGuest({ agent, process: { id } }: LiveMachine, processes: number) {
  await claimAgent(agent, { id, limits: { processes }, hostname: id, labels: {} }, AGENT_MS_MAX)
}

/** Lowers bounds while the guest runs, and reads each back. Throws where one does not hold. */
export async function tighten(job: MachineJob, to: EnclosureBounds): Promise<BoundMechanisms> {
  const before = job.held
  if (!before) throw new Error('it holds no job')
  const less = before.memory - to.memory
  assert(less >= 0, 'memory was raised')
  const usedMax = before.usedMax - less
  if (less > 0) job.machine.process.cgroup?.limit({ memory: pageUp(usedMax) })
  const enforced = bind(job, to)
  if (tasksOf(job, to) < tasksOf(job, before)) await lowerTasks(job, tasksOf(job, to))
  job.held = { ...to, usedMax }
  return enforced
}

async function lowerTasks({ machine: { agent } }: MachineJob, value: number): Promise<void> {
  const nonce = agent.nonce()
  agent.send({ kind: 'phase', nonce, command: { do: 'lower-limit', limit: 'processes', value } })
  const { errno } = await agent.take('phased', AGENT_MS_MAX, (one) => one.nonce === nonce)
  if (errno !== 0)
    throw new MayflyError('UNAVAILABLE', `Cannot lower a limit in a machine: errno ${errno}`)
}

export function sampleOf({ machine, held, killsAtClaim }: MachineJob): MemorySample {
  if (!held) throw new Error('it holds no job')
  const kills = machine.process.cgroup?.memoryKills() ?? 0
  return {
    bytes: machine.process.memory(),
    bytesMax: held.usedMax,
    isOutOfMemory: kills > killsAtClaim,
  }
}

/** Sets each bound that this machine can hold and says by which mechanism. */
function bind(
  { machine }: MachineJob,
  to: Pick<EnclosureBounds, 'cpu' | 'processes'>,
): BoundMechanisms {
  const { cgroup } = machine.process
  const hasQuota = cgroup?.controllers.includes('cpu') === true
  // Lifts the low weight of a spare.
  if (hasQuota) cgroup.limit({ cpu: to.cpu ?? Infinity })
  const throttle = hasQuota ? ('cgroup' as const) : ('watch' as const)
  return {
    memory: cgroup ? 'cgroup' : 'watch',
    // The guest's own kernel holds it: one that was broken into has this host's processes none the less.
    processes: 'rlimit',
    cpu: to.cpu === undefined ? 'none' : throttle,
    io: 'none',
  }
}

/** Cores to which a watch holds it; undefined where a quota does, or none is asked for. */
export function throttledTo({ machine, held }: MachineJob): number | undefined {
  return machine.process.cgroup?.controllers.includes('cpu') ? undefined : held?.cpu
}

function tasksOf({ ownTasks }: MachineJob, { processes }: Pick<EnclosureBounds, 'processes'>) {
  return ownTasks + (processes ?? TASKS_MAX) - 1
}

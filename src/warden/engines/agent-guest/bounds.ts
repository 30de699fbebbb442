import assert from 'node:assert/strict'
import type {
  ClaimBounds,
  ClaimReadBack,
  EnclosureBounds,
  MemorySample,
} from '../../../contract/engine.ts'
import type { BoundMechanisms } from '../../../contract/warden.ts'
import { killsAtLimit } from '../../../os/cgroup-interface.ts'
import { bindCpu, cpuMsIn, pageUp } from '../group-bounds.ts'
import { allowanceBytes } from './memory-size.ts'
import { askPhase, askStatus } from '../../../agent-wire/agent-questions.ts'
import { claimAgent } from '../../../agent-wire/make-unique.ts'
import type { LiveMachine, VmmProcess } from './source.ts'

/** State of a machine's job. */
export interface MachineJob {
  readonly machine: LiveMachine
  readonly disk: number
  /** Threads of the runner itself. */
  readonly ownTasks: number
  /** Bytes in use while parked. */
  readonly idleBytes: number
  held: AppliedBounds | undefined
  /** Whether the guest's kernel limits the memory of the job too. */
  isHeldInside: boolean
  /** Bytes in use at the claim, and the peak sample since. */
  bytesAtClaim: number
  bytesSeen: number
  killsAtClaim: number
  /** Most tasks of its cgroup, and refused ones, that do not count: those before its exec, or before a bound that was lowered. */
  tasksPeak: number
  tasksRefused: number
  /** Milliseconds of CPU time before its job, and as last read before its end. */
  spentBefore: number
  spentSeen: number
}

interface AppliedBounds extends EnclosureBounds {
  /** Bytes in use above which the wall is killed. */
  readonly usedMax: number
}

/** Limit of an answer of the agent, long for an emulator on a busy machine. The caller has a shorter deadline. */
const AGENT_MS_MAX = 10_000
/** Limit of threads for a job without a limit of its own. */
const TASKS_MAX = 256

/** Reseeds the guest and applies the limits of a job. Throws MayflyError PROTOCOL if a step failed. */
export async function claim(job: MachineJob, asked: ClaimBounds): Promise<ClaimReadBack> {
  const { machine, idleBytes, disk } = job
  const bytes = machine.process.memory()
  const usedMax = bytes + asked.memory + disk + allowanceBytes
  machine.process.cgroup?.limit({ memory: pageUp(usedMax) })
  const enforced = bind(job, asked)
  await Promise.all([claimGuest(job, asked), bindDisk(job, asked)])
  job.bytesAtClaim = job.bytesSeen = bytes
  job.killsAtClaim = machine.process.cgroup?.memoryKills() ?? 0
  job.spentBefore = spentMs(machine.process)
  job.held = { ...asked, usedMax }
  return { spent: false, enforced, bytes, idleBytes }
}

/** Claims the guest, with a host name of its own, because programs may write it into their output. */
async function claimGuest(job: MachineJob, asked: EnclosureBounds): Promise<void> {
  const { agent, process } = job.machine
  const { id } = process
  const limits = { processes: tasksBoundOf(job, asked) }
  const memory = memoryInside(job, asked)
  const own = { id, limits, memory, hostname: id, labels: {} }
  const { steps } = await claimAgent(agent, own, AGENT_MS_MAX)
  job.isHeldInside = steps.memory === 0
}

/** Limit inside the guest: scratch files are memory there. */
const memoryInside = ({ disk }: MachineJob, { memory }: EnclosureBounds) => memory + disk

/** Lowers limits of a running guest, and reads each back. Throws if one does not hold. */
export async function tighten(job: MachineJob, to: EnclosureBounds): Promise<BoundMechanisms> {
  const before = job.held
  if (!before) throw new Error('it holds no job')
  const less = before.memory - to.memory
  assert(less >= 0, 'memory was raised')
  const usedMax = before.usedMax - less
  const enforced = bind(job, to)
  const { agent } = job.machine
  const tasks = tasksBoundOf(job, to)
  if (to.io !== undefined && to.io < (before.io ?? Infinity)) await bindDisk(job, to)
  // The guest's limit first: its kernel reclaims page cache, whereas the host's limit kills the whole machine.
  if (less > 0 && job.isHeldInside)
    await askPhase(agent, { do: 'lower-memory', bytes: memoryInside(job, to) }, AGENT_MS_MAX)
  if (less > 0) job.machine.process.cgroup?.limit({ memory: pageUp(usedMax) })
  if (tasks !== tasksBoundOf(job, before)) job.tasksPeak = Infinity
  if (tasks < tasksBoundOf(job, before))
    await askPhase(agent, { do: 'lower-limit', limit: 'processes', value: tasks }, AGENT_MS_MAX)
  job.held = { ...to, usedMax }
  return enforced
}

/** Longest wait for the guest's report of its end; the machine is killed afterwards in any case. */
export const wordMsMax = 2_000

/**
 * Whether the guest's OOM killer ended the job. The guest reports it; the report counts only if this host saw the machine grow by
 * at least half of the limit. Resolves to false if the guest does not answer.
 */
export async function wasEndedInside(job: MachineJob): Promise<boolean> {
  if (!job.isHeldInside || !job.held) return false
  try {
    const { memoryKills } = await askStatus(job.machine.agent, wordMsMax)
    const grew = Math.max(job.bytesSeen, job.machine.process.memory()) - job.bytesAtClaim
    return memoryKills > 0 && grew >= job.held.memory / 2
  } catch {
    return false
  }
}

export function sampleOf(job: MachineJob): MemorySample {
  const { machine, held, killsAtClaim } = job
  if (!held) throw new Error('it holds no job')
  const bytes = machine.process.memory()
  job.bytesSeen = Math.max(job.bytesSeen, bytes)
  return {
    bytes,
    bytesMax: held.usedMax,
    isOutOfMemory: killsAtLimit(machine.process.cgroup) > killsAtClaim,
  }
}

/** Sets each limit that this host can enforce, and returns the mechanism of each. */
function bind(
  { machine }: MachineJob,
  to: Pick<EnclosureBounds, 'cpu' | 'processes' | 'io'>,
): BoundMechanisms {
  const { cgroup } = machine.process
  return {
    memory: cgroup ? 'cgroup' : 'watch',
    // RLIMIT_NPROC and pids.max of the guest's kernel. A compromised guest kernel can still not create processes of this host.
    processes: 'rlimit',
    cpu: bindCpu(cgroup, to.cpu),
    io: to.io !== undefined && machine.process.limitDisk ? 'throttle' : 'none',
  }
}

/** Limits reads of the disk of a guest, its image; files that it writes are in memory. */
async function bindDisk({ machine }: MachineJob, { io }: EnclosureBounds): Promise<void> {
  if (io !== undefined) await machine.process.limitDisk?.(io)
}

/**
 * Milliseconds of CPU time of a guest and its VMM process since the start. Without a cgroup that of the process tree and what it
 * reaped: programs of a user-mode kernel are processes of this host, below that of the kernel.
 */
export function spentMs({ cgroup, processes }: Pick<VmmProcess, 'cgroup' | 'processes'>): number {
  return cpuMsIn(cgroup, processes[0]?.pid)
}

/** Bound on tasks of the job's cgroup. */
export function tasksBoundOf(
  { ownTasks }: MachineJob,
  { processes }: Pick<EnclosureBounds, 'processes'>,
) {
  return ownTasks + (processes ?? TASKS_MAX) - 1
}

import assert from 'node:assert/strict'
import type {
  ClaimBounds,
  ClaimReadBack,
  EnclosureBounds,
  MemorySample,
} from '../../../contract/engine.ts'
import type { BoundMechanisms, UsualBounds } from '../../../contract/warden.ts'
import type { JobMemory } from './job-memory.ts'
import { openEgress } from './egress.ts'
import { memoryOf, spentMs } from './measure.ts'
import type { TaskWatch } from './task-watch.ts'
import type { RunscBounds, RunscWall } from './wall.ts'
import { kernelBytesMax, pageUp } from '../group-memory.ts'

/** Threads that an interpreter starts on first use. */
const THREADS_LATER = 4
/** Default bound on tasks. */
const TASKS_MAX = 256
const noBound: BoundMechanisms = { memory: 'watch', processes: 'none', cpu: 'none', io: 'none' }

/** Sets a job's bounds before the job is sent. Memory counts from the idle size of the wall. */
export async function claim(wall: RunscWall, asked: ClaimBounds): Promise<ClaimReadBack> {
  if (asked.egress) await prepareEgress(wall)
  const { resources, idleMemory } = wall
  if (!wall.handles.areRunning())
    return { spent: true, enforced: noBound, bytes: idleMemory, idleBytes: idleMemory }
  const bytes = memoryOf(resources, wall.sentry)
  const { cgroup } = resources
  const usedMax = idleMemory + asked.memory
  const groupMax = groupMaxOf(wall, asked.memory, usedMax - bytes)
  cgroup?.limit({ memory: groupMax })
  const enforced = bind(wall, asked)
  wall.killsAtClaim = cgroup?.memoryKills() ?? 0
  wall.spentBefore = spentMs(resources)
  wall.held = { ...asked, usedMax, groupMax, throttledTo: throttledTo(wall, asked) }
  return { spent: false, enforced, bytes, idleBytes: idleMemory }
}

/**
 * `more`: bytes by which it may grow, without scratch. A wall with this limit as its preset keeps it: no code ran
 * since.
 */
function groupMaxOf(
  { resources: { cgroup }, disk, preset }: RunscWall,
  memory: number,
  more: number,
): number {
  if (!cgroup) return Infinity
  if (preset?.memory === memory) return preset.groupMax
  return pageUp(cgroup.memoryNow() + more + disk + kernelBytesMax)
}

/** Sets the usual bounds in advance; a claim with different ones sets all again. */
export function presetBounds(wall: RunscWall, usual: UsualBounds): void {
  const { cgroup } = wall.resources
  if (!cgroup) return
  const { memory, cpu } = usual
  const groupMax = groupMaxOf(wall, memory, memory)
  try {
    cgroup.limit({ memory: groupMax })
    bind(wall, { cpu })
    wall.preset = { memory, groupMax }
  } catch {
    // Ignored: the claim sets them, or reports the error.
    wall.preset = undefined
  }
}

/** The forwarder belongs to the wall: its memory and tasks are not charged to the job. */
async function prepareEgress(wall: RunscWall): Promise<void> {
  const { resources, sentry } = wall
  wall.egress = await openEgress(wall)
  wall.idleMemory = memoryOf(resources, sentry)
  wall.preset = undefined
  wall.idleTasks = await resources.control.tasks()
}

/**
 * Lowers bounds while the program runs, and reads each back. Throws if one is not enforced (EBUSY: more memory is in
 * use).
 */
export function tighten(wall: RunscWall, to: EnclosureBounds): BoundMechanisms {
  const before = wall.held
  if (!before) throw new Error('it has no job')
  const less = before.memory - to.memory
  assert(less >= 0, 'memory was raised')
  const groupMax = pageUp(before.groupMax - less)
  if (groupMax < before.groupMax) wall.resources.cgroup?.limit({ memory: groupMax })
  const usedMax = before.usedMax - less
  wall.held = { ...to, usedMax, groupMax, throttledTo: throttledTo(wall, to) }
  return bind(wall, to)
}

export function sampleOf(
  wall: RunscWall,
  looks: { readonly memory: JobMemory; readonly tasks: TaskWatch; readonly nowMs: number },
): MemorySample {
  if (!wall.held) throw new Error('it has no job')
  const bytes = looks.memory.look(wall.held.usedMax)
  const hasTooManyTasks = looks.tasks.isOver(tasksMaxOf(wall, wall.held), looks.nowMs)
  const kills = wall.resources.cgroup?.memoryKills() ?? 0
  return {
    bytes,
    bytesMax: wall.held.usedMax,
    isOutOfMemory: kills > wall.killsAtClaim,
    hasTooManyTasks,
  }
}

/** Sets each bound that this machine can enforce and returns its mechanism; tasks are polled while the job runs. */
function bind(
  { resources: { cgroup } }: RunscWall,
  to: { readonly cpu?: number | undefined },
): BoundMechanisms {
  const hasQuota = cgroup?.controllers.includes('cpu') === true
  // Lifts the low weight of a spare.
  if (hasQuota) cgroup.limit({ cpu: to.cpu ?? Infinity })
  const throttle = hasQuota ? ('cgroup' as const) : ('watch' as const)
  return {
    memory: cgroup ? 'cgroup' : 'watch',
    processes: 'watch',
    cpu: to.cpu === undefined ? 'none' : throttle,
    io: 'none',
  }
}

function throttledTo({ resources: { cgroup } }: RunscWall, { cpu }: Pick<RunscBounds, 'cpu'>) {
  return cgroup?.controllers.includes('cpu') ? undefined : cpu
}

function tasksMaxOf({ idleTasks }: RunscWall, { processes }: Pick<RunscBounds, 'processes'>) {
  return idleTasks + THREADS_LATER + (processes ?? TASKS_MAX) - 1
}

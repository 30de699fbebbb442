import assert from 'node:assert/strict'
import type {
  ClaimBounds,
  ClaimReadBack,
  EnclosureBounds,
  MemorySample,
} from '../../../contract/engine.ts'
import type { BoundMechanisms, UsualBounds } from '../../../contract/warden.ts'
import { killsAtLimit } from '../../../os/cgroup-interface.ts'
import type { JobMemory } from './job-memory.ts'
import { listenInside } from './egress.ts'
import { memoryOf, spentMs } from './measure.ts'
import type { TaskWatch } from './task-watch.ts'
import type { RunscBounds, RunscWall } from './wall.ts'
import { bindCpu, groupMaxOf, noBound, pageUp, presetGroup, throttledTo } from '../group-bounds.ts'

/** Threads that an interpreter starts on first use. */
const THREADS_LATER = 4
/** Default bound on tasks. */
const TASKS_MAX = 256

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
  wall.held = { ...asked, usedMax, groupMax, throttledTo: throttledTo(cgroup, asked.cpu) }
  return { spent: false, enforced, bytes, idleBytes: idleMemory }
}

export function presetBounds(wall: RunscWall, { memory, cpu }: UsualBounds): void {
  presetGroup(wall, memory, () => bindCpu(wall.resources.cgroup, cpu))
}

/** The forwarder belongs to the wall: its memory and tasks are not charged to the job. */
async function prepareEgress(wall: RunscWall): Promise<void> {
  const { resources, sentry } = wall
  wall.egress = await listenInside(wall)
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
  const { cgroup } = wall.resources
  if (groupMax < before.groupMax) cgroup?.limit({ memory: groupMax })
  const usedMax = before.usedMax - less
  wall.held = { ...to, usedMax, groupMax, throttledTo: throttledTo(cgroup, to.cpu) }
  return bind(wall, to)
}

export function sampleOf(
  wall: RunscWall,
  looks: { readonly memory: JobMemory; readonly tasks: TaskWatch; readonly nowMs: number },
): MemorySample {
  if (!wall.held) throw new Error('it has no job')
  const bytes = looks.memory.look(wall.held.usedMax)
  const hasTooManyTasks = looks.tasks.isOver(tasksMaxOf(wall, wall.held), looks.nowMs)
  return {
    bytes,
    bytesMax: wall.held.usedMax,
    isOutOfMemory: killsAtLimit(wall.resources.cgroup) > wall.killsAtClaim,
    hasTooManyTasks,
  }
}

/** Sets each bound that this machine can enforce and returns its mechanism; tasks are polled while the job runs. */
function bind(
  { resources: { cgroup } }: RunscWall,
  to: { readonly cpu?: number | undefined },
): BoundMechanisms {
  return {
    memory: cgroup ? 'cgroup' : 'watch',
    processes: 'watch',
    cpu: bindCpu(cgroup, to.cpu),
    io: 'none',
  }
}

function tasksMaxOf({ idleTasks }: RunscWall, { processes }: Pick<RunscBounds, 'processes'>) {
  return idleTasks + THREADS_LATER + (processes ?? TASKS_MAX) - 1
}

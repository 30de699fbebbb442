import assert from 'node:assert/strict'
import type { EnclosureBounds } from '../../../contract/engine.ts'
import type { BoundMechanisms } from '../../../contract/warden.ts'
import { asRealUser } from '../../../os/libc.js'
import { bind, tasksFor } from './bounds.ts'
import { memoryLimitsFor, treeWatchFor } from './claim.ts'
import { limitTasksOfAll } from './limit-tasks.ts'
import type { ProcessWall } from './process-wall.ts'

/**
 * Lowers bounds while the program runs, and reads each back. Asserts that `to` is no looser than the current bounds.
 * Throws if a bound cannot be enforced, for example EBUSY if more memory is in use than the new limit.
 */
export async function tighten(wall: ProcessWall, to: EnclosureBounds): Promise<BoundMechanisms> {
  const { resources } = wall
  const before = wall.held
  if (!before) throw new Error('it has no job')
  const { residentMax, groupMax } = memoryLimitsFor(wall, to.memory, before)
  assert(residentMax <= before.residentMax && groupMax <= before.groupMax, 'memory was raised')
  wall.zones?.tightenAll(to)
  if (groupMax < before.groupMax) resources.cgroup?.limit({ memory: groupMax })
  const isCounted = resources.cgroup?.controllers.includes('pids') || resources.sentinel?.isKeeper
  const isByRlimit = resources.slot === undefined && !isCounted
  const { processes, ...others } = to
  const held = bind(resources, wall.layers, isByRlimit ? others : to)
  wall.tasksHeld ??= before.processes
  // A peak from before is not above the new bound for want of tasks.
  if (to.processes !== before.processes) wall.tasksPeak = Infinity
  wall.held = { ...to, residentMax, groupMax }
  // All other bounds are set before this waits for forks in flight.
  const cores = held.cpu === 'watch' ? to.cpu : undefined
  wall.watch = treeWatchFor(wall, wall.isWatched ? residentMax : Infinity, cores)
  if (!isByRlimit || processes === undefined) return held
  // Lowered before: forks in flight, of which a busy program has some at any time, matter to a lower bound alone.
  if (processes >= (wall.tasksHeld ?? Infinity)) return { ...held, processes: 'rlimit' }
  const { uidOutside } = resources
  const as = (limit: () => void) =>
    uidOutside !== undefined && process.getuid?.() === 0 ? asRealUser(uidOutside, limit) : limit()
  await limitTasksOfAll(resources, tasksFor(resources, processes), as)
  wall.tasksHeld = Math.min(wall.tasksHeld ?? Infinity, processes)
  return { ...held, processes: 'rlimit' }
}

/**
 * Closes fork and clone irrevocably (EAGAIN in the guest): the bound on tasks is 0, in the cgroup or for each process.
 * Throws if it is not enforced.
 */
export async function forbidFork({ resources, layers }: ProcessWall): Promise<void> {
  resources.forbidsFork = true
  const { slot, cgroup, sentinel } = resources
  // The keeper answers each fork itself, and has confirmed that no fork is in flight.
  if (sentinel?.isKeeper) return sentinel.limitTasks(0)
  if (cgroup?.controllers.includes('pids')) return cgroup.limit({ pids: 0 })
  const isCounted = layers.includes('own uid') || layers.includes('user namespace')
  if (!isCounted) throw new Error('no mechanism counts its processes')
  await limitTasksOfAll(resources, 0, (limit) => (slot ? asRealUser(slot.uid, limit) : limit()))
}

import { asRealUser, limitResource, resourceLimit } from '../../../os/libc.js'
import { diskOf } from '../../../os/block.ts'
import type { EnclosureBounds } from '../../../contract/engine.ts'
import type { BoundMechanisms } from '../../../contract/warden.ts'
import { bindCpu } from '../group-bounds.ts'
import { insideOf } from './members.ts'
import type { WallResources } from './resources.ts'

/** Default bound on processes and threads of one wall, if a cgroup enforces it. */
export const wallTasksMax = 256
/** Threads that an interpreter starts on first use, and the init that waits for it. */
const THREADS_LATER = 4

/**
 * Sets each bound that this machine can enforce, reads it back, and returns its mechanism. Throws if a value read back
 * is looser. Memory is not set here but in `claim.ts`, and lowered in `tighten.ts`; only its mechanism is named. A fork beyond the
 * bound on tasks fails with EAGAIN.
 */
export function bind(
  resources: WallResources,
  layers: readonly string[],
  to: Omit<EnclosureBounds, 'memory'>,
): BoundMechanisms {
  return {
    memory: resources.cgroup ? 'cgroup' : 'watch',
    processes: bindProcesses(resources, layers, to.processes),
    cpu: bindCpu(resources.cgroup, to.cpu),
    io: bindIo(resources, to.io),
  }
}

function bindProcesses(
  resources: WallResources,
  layers: readonly string[],
  processes: number | undefined,
): BoundMechanisms['processes'] {
  const isInGroup = resources.cgroup?.controllers.includes('pids') === true
  if (processes === undefined) {
    // Raises the preset of a spare, which may be lower.
    if (isInGroup && resources.isPreset) resources.cgroup!.limit({ pids: tasksMaxOf(resources) })
    return isInGroup ? 'cgroup' : 'none'
  }
  const pids = tasksFor(resources, processes)
  if (isInGroup) resources.cgroup!.limit({ pids })
  if (resources.sentinel?.isKeeper) {
    resources.sentinel.limitTasks(pids)
    return isInGroup ? 'cgroup' : 'keeper'
  }
  const isCounted = layers.includes('own uid') || layers.includes('user namespace')
  if (!isInGroup && !isCounted) return 'none'
  // RLIMIT_NPROC may count other processes of this user: acceptable as the only bound, not in addition to a cgroup.
  if (!isInGroup) limitTasks(resources, pids)
  else if (layers.includes('own uid')) limitTasks(resources, ownTasks(resources, layers, pids))
  return isInGroup ? 'cgroup' : 'rlimit'
}

/** Sets the bound on tasks before a job is there, where the cgroup has one. */
export function presetTasks(resources: WallResources, processes: number): void {
  if (!resources.cgroup?.controllers.includes('pids')) return
  resources.isPreset = true
  resources.cgroup.limit({ pids: tasksFor(resources, processes) })
}

/** Tasks of a wall whose job has no bound of its own. */
function tasksMaxOf({ forbidsFork }: WallResources): number {
  return forbidsFork ? 0 : wallTasksMax
}

/**
 * Sets the bound also as RLIMIT_NPROC of the wall's own uid. copy_process() checks it before it copies the memory; the
 * pids cgroup refuses late, after most of the copy, and a fork loop there holds locks that making and removing a namespace
 * waits for.
 */
function ownTasks(resources: WallResources, layers: readonly string[], pids: number): number {
  const outside = resources.processes.length > 1 ? 1 : 0
  // Without a user namespace the sentinel counts too, because it has the uid of the wall.
  const beside = resources.sentinel && !layers.includes('user namespace') ? 1 : 0
  return Math.max(0, pids - outside + beside)
}

/** Bound on tasks of a wall: its own, threads that its interpreter starts later, and those of the job. */
export function tasksFor({ idleTasks, forbidsFork }: WallResources, processes: number): number {
  return forbidsFork ? 0 : idleTasks + THREADS_LATER + processes - 1
}

/** RLIMIT_NPROC counts by uid and user namespace, which belongs to this wall alone; children inherit the limit. */
function limitTasks(resources: WallResources, tasks: number): void {
  const limit = () => {
    for (const pid of insideOf(resources)) {
      const holds = limitTasksOf(pid, tasks)
      if (holds > tasks) throw new Error(`RLIMIT_NPROC is ${holds} after setting ${tasks}`)
    }
  }
  const uid = resources.slot?.uid ?? resources.uidOutside
  if (uid !== undefined && process.getuid?.() === 0) asRealUser(uid, limit)
  else limit()
}

/**
 * Sets RLIMIT_NPROC of a process, whose hard limit may be lower. Returns the limit that holds; 0 for a process that just ended
 * (ESRCH) and forks no more.
 */
export function limitTasksOf(pid: number, tasks: number): number {
  try {
    limitResource('nproc', tasks, pid)
    return resourceLimit('nproc', pid)
  } catch (error) {
    const { code } = error as { readonly code?: string }
    if (code === 'ESRCH') return 0
    // The hard limit is lower, and holds.
    if (code === 'EPERM') return resourceLimit('nproc', pid)
    throw error
  }
}

/** Many block devices support no limit; the result says so. */
function bindIo({ cgroup }: WallResources, bytes: number | undefined): BoundMechanisms['io'] {
  const disk = bytes === undefined ? undefined : diskOf('/usr')
  if (!disk || !cgroup?.controllers.includes('io')) return 'none'
  try {
    cgroup.limit({ io: { bytes: bytes!, devices: [disk] } })
    return 'cgroup'
  } catch {
    return 'none'
  }
}

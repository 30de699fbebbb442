import { asRealUser, limitResource, resourceLimit } from '../os/libc.js'
import { diskOf } from '../os/block.ts'
import type { BoundMechanisms, Request } from '../contract/warden.ts'
import { insideOf, type Taken } from './taken.ts'

/** What a claim holds a wall to beside its memory and its deadline. */
export type Bounds = Pick<Extract<Request, { op: 'claim' }>, 'cpu' | 'io' | 'processes'>

/** Threads that an interpreter starts when it first needs them, and whoever waits for it. */
const THREADS_LATER = 4

/** Sets what can be set here and reads it back, and tells what holds what. Throws where the kernel takes it and lies. */
export function bind(taken: Taken, layers: readonly string[], to: Bounds): BoundMechanisms {
  return {
    memory: taken.cgroup ? 'cgroup' : 'watch',
    processes: bindProcesses(taken, layers, to.processes),
    cpu: bindCpu(taken, to.cpu),
    io: bindIo(taken, to.io),
  }
}

function bindProcesses(
  taken: Taken,
  layers: readonly string[],
  processes: number | undefined,
): BoundMechanisms['processes'] {
  const isInGroup = taken.cgroup?.controllers.includes('pids') === true
  if (processes === undefined) return isInGroup ? 'cgroup' : 'none'
  const pids = tasksFor(taken, processes)
  const isCounted = layers.includes('own uid') || layers.includes('user namespace')
  if (!isInGroup && !isCounted) return 'none'
  if (isInGroup) taken.cgroup!.limit({ pids })
  // Where it is the only bound it may count what else this user has; beside another it must not.
  if (!isInGroup) limitTasks(taken, pids)
  else if (layers.includes('own uid')) limitTasks(taken, ownTasks(taken, layers, pids))
  return isInGroup ? 'cgroup' : 'rlimit'
}

/**
 * The same bound, by the user that it has to itself. The kernel looks at that one first, before it has copied anything:
 * what a group alone refuses costs a thousand times as much, and whoever asks for it without end would keep everybody
 * waiting who makes or takes away a namespace.
 */
function ownTasks(taken: Taken, layers: readonly string[], pids: number): number {
  const outside = taken.processes.length > 1 ? 1 : 0
  // In no namespace of users it has the uid of the wall.
  const beside = taken.sentinel && !layers.includes('user namespace') ? 1 : 0
  return Math.max(0, pids - outside + beside)
}

/** All that may live in a wall: what it is made of, what that starts later, and what the program may have. */
export function tasksFor({ idleTasks, startsNone }: Taken, processes: number): number {
  return startsNone ? 0 : idleTasks + THREADS_LATER + processes - 1
}

/** The kernel counts by user, in the user's namespace: only this wall has this one. What it starts inherits it. */
function limitTasks(taken: Taken, tasks: number): void {
  const limit = () => {
    for (const pid of insideOf(taken)) limitOne(pid, tasks)
  }
  if (taken.slot) asRealUser(taken.slot.uid, limit)
  else limit()
}

function limitOne(pid: number, tasks: number): void {
  try {
    limitResource('nproc', tasks, pid)
    const holds = resourceLimit('nproc', pid)
    if (holds > tasks) throw new Error(`RLIMIT_NPROC is ${holds} after setting ${tasks}`)
  } catch (error) {
    // One that ended just now starts nothing more.
    if ((error as { readonly code?: string }).code !== 'ESRCH') throw error
  }
}

function bindCpu({ cgroup }: Taken, cpu: number | undefined): BoundMechanisms['cpu'] {
  if (!cgroup?.controllers.includes('cpu')) return cpu === undefined ? 'none' : 'watch'
  // Without a bound it is worth as much as any other.
  cgroup.limit({ cpu: cpu ?? Infinity })
  return cpu === undefined ? 'none' : 'cgroup'
}

/** A disk that takes no bound is told by the answer: there are many that do not. */
function bindIo({ cgroup }: Taken, bytes: number | undefined): BoundMechanisms['io'] {
  const disk = bytes === undefined ? undefined : diskOf('/usr')
  if (!disk || !cgroup?.controllers.includes('io')) return 'none'
  try {
    cgroup.limit({ io: { bytes: bytes!, devices: [disk] } })
    return 'cgroup'
  } catch {
    return 'none'
  }
}

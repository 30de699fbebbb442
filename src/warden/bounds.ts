import { asRealUser, limitResource, resourceLimit } from '../os/libc.js'
import { diskOf } from '../os/block.ts'
import type { HeldBy, Request } from './protocol.ts'
import { insideOf, type Taken } from './taken.ts'

/** What a claim holds a wall to beside its memory and its deadline. */
export type Bounds = Pick<Extract<Request, { op: 'claim' }>, 'cpu' | 'io' | 'processes'>

/** Threads that an interpreter starts when it first needs them, and whoever waits for it. */
const THREADS_LATER = 4

/** Sets what can be set here and reads it back, and tells what holds what. Throws where the kernel takes it and lies. */
export function bind(taken: Taken, layers: readonly string[], to: Bounds): HeldBy {
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
): HeldBy['processes'] {
  const isInGroup = taken.cgroup?.controllers.includes('pids') === true
  if (processes === undefined) return isInGroup ? 'cgroup' : 'none'
  const pids = tasksFor(taken, processes)
  if (isInGroup) taken.cgroup!.limit({ pids })
  else if (layers.includes('own uid') || layers.includes('user namespace')) limitTasks(taken, pids)
  else return 'none'
  return isInGroup ? 'cgroup' : 'rlimit'
}

/** All that may live in a wall: what it is made of, what that starts later, and what the program may have. */
export function tasksFor({ idleTasks }: Taken, processes: number): number {
  return idleTasks + THREADS_LATER + processes - 1
}

/** The kernel counts by user, in the user's namespace: only this wall has this one. What it starts inherits it. */
function limitTasks(taken: Taken, tasks: number): void {
  const limit = () => {
    for (const pid of insideOf(taken)) {
      limitResource('nproc', tasks, pid)
      const holds = resourceLimit('nproc', pid)
      if (holds > tasks) throw new Error(`RLIMIT_NPROC is ${holds} after setting ${tasks}`)
    }
  }
  if (taken.slot) asRealUser(taken.slot.uid, limit)
  else limit()
}

function bindCpu({ cgroup }: Taken, cpu: number | undefined): HeldBy['cpu'] {
  if (cpu === undefined) return 'none'
  if (!cgroup?.controllers.includes('cpu')) return 'watch'
  cgroup.limit({ cpu })
  return 'cgroup'
}

/** A disk that takes no bound is told by the answer: there are many that do not. */
function bindIo({ cgroup }: Taken, bytes: number | undefined): HeldBy['io'] {
  const disk = bytes === undefined ? undefined : diskOf('/usr')
  if (!disk || !cgroup?.controllers.includes('io')) return 'none'
  try {
    cgroup.limit({ io: { bytes: bytes!, devices: [disk] } })
    return 'cgroup'
  } catch {
    return 'none'
  }
}

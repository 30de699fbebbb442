import os from 'node:os'
import type { Server, Socket } from 'node:net'
import type { JailCommand } from '../jail/embedded.ts'
import type { CgroupRoot } from '../os/cgroup.ts'
import { residentBytes } from '../os/proc.ts'
import { named } from './lease.ts'
import { takeListener } from './listener.ts'
import type { Wanted } from './program.ts'
import type { StreamName, Wall, WallEnd } from './protocol.ts'
import { chainOf } from './ready.ts'
import { insideOf, processesOfWall, type Taken } from './taken.ts'
import { bytesOf, tasksOf } from './tree.ts'

/** A wall that is there, with what was taken for it and what is known of its life. */
export interface Live extends Wall {
  readonly taken: Taken
  /** Bytes of scratch. */
  readonly disk: number
  /** Resolves when everything that was taken has been given back. */
  readonly gone: Promise<void>
  tenant: string | undefined
  /** What its job is held to; undefined before its first. */
  held: HeldTo | undefined
  killsAtClaim: number
  how: WallEnd | undefined
  peakBytes: number
}

/** Bounds as they were asked for, and what became of the memory: of its processes, and of its group. */
export interface HeldTo {
  readonly memory: number
  readonly cpu: number | undefined
  readonly io: number | undefined
  readonly processes: number | undefined
  readonly residentMax: number
  readonly groupMax: number
}

/** What belongs to a wall and goes beside a reply, to whoever asked, for good. */
export interface Beside {
  readonly wall: string
  readonly handle: Socket | Server
  readonly streams?: Readonly<Record<StreamName, Socket>>
}

/** Guests give way: on a busy machine whoever holds them to their bounds has to come first. */
const GUEST_NICE = 5
/** Processes and threads of one wall, where there is a cgroup to hold them. */
const TASKS_MAX = 256
/** A worker is held to no processor time of its own; more groups would only slow its start. */
const WORKER_CONTROLLERS = ['memory', 'pids'] as const

/** Finds the processes of what just said that it is ready, names them, and says which of them is the program. */
export function nameProcesses(taken: Taken, nested: boolean): number {
  const outermost = taken.child.pid!
  const chain = chainOf(outermost, nested)
  const pid = chain.at(-2) ?? outermost
  taken.processes = (taken.isWhole ? chain : [...new Set([pid, outermost])]).map(named)
  return pid
}

/** Puts a wall into its group, takes what is to be taken from it before anybody else's code runs, and describes it. */
export function settleIn(
  taken: Taken,
  pid: number,
  to: {
    readonly asked: Wanted
    readonly command: JailCommand
    readonly cgroups: CgroupRoot | undefined
    readonly watches: boolean
    readonly began: number
  },
): Wall {
  const { asked, command, watches } = to
  const isTightened = taken.isWhole || asked.way !== undefined
  const wanted = isTightened ? undefined : WORKER_CONTROLLERS
  const cgroup = (taken.cgroup ??= to.cgroups?.create(taken.id, wanted))
  for (const inside of taken.isWhole ? insideOf(taken) : [pid]) cgroup?.add(inside)
  cgroup?.limit({ pids: TASKS_MAX })
  os.setPriority(pid, GUEST_NICE)
  if (taken.isWhole) taken.listenerFd = takeListener(pid, command.layers)
  if (isTightened) taken.idleTasks = tasksOf(taken.processes[0]!.pid)
  return {
    id: taken.id,
    program: asked.program,
    pid,
    way: command.way,
    layers: [
      ...command.layers,
      ...(cgroup ? ['memory cgroup'] : []),
      ...(watches ? ['memory watch'] : []),
    ],
    missing: [
      ...command.missing,
      ...(cgroup ? [] : ['memory cgroup: memory is held by a watch every 2 ms alone']),
    ],
    idleBytes: taken.isWhole ? bytesOf(processesOfWall(taken)) : residentBytes(pid),
    took: performance.now() - to.began,
  }
}

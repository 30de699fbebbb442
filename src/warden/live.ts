import type { Server, Socket } from 'node:net'
import { callClasses, type CallClass } from '../contract/calls.ts'
import type { JailCommand } from '../jail/embedded.ts'
import { residentBytes } from '../os/proc.ts'
import { giveWay, goFirst } from './come-first.ts'
import { named, type Named } from './lease.ts'
import { takeListener } from './listener.ts'
import type { Wanted } from './program.ts'
import type { ProgramZones } from './program-zones.ts'
import type { StreamName, Wall, WallEnd } from '../contract/warden.ts'
import { chainOf } from './ready.ts'
import { processesOfWall, type Taken } from './taken.ts'
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
  /** Of its programs, where its job has any. */
  zones: ProgramZones | undefined
  /** Milliseconds of processor time before its job, and of what is known by its end. */
  spentBefore: number
  spentSeen: number
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
/** New processes are held by their own bound, so that nothing asks about them. */
function classesFor({ calls = callClasses }: Wanted): readonly CallClass[] {
  return callClasses.filter((name) => name === 'process' || calls.includes(name))
}

/** A group counts whoever waits outside as well; a user's own bound does not. */
function countedFrom({ cgroup, processes }: Taken): Named {
  return cgroup?.controllers.includes('pids') ? processes.at(-1)! : processes[0]!
}

/** Finds the processes of what just said that it is ready, names them, and says which of them is the program. */
export function nameProcesses(taken: Taken, nested: boolean): number {
  const outermost = taken.child.pid!
  const chain = chainOf(outermost, nested)
  const pid = chain.at(-2) ?? outermost
  taken.processes = (taken.isWhole ? chain : [...new Set([pid, outermost])]).map(named)
  // Whoever was started before its maker went first has not got it from there.
  for (const one of taken.processes) goFirst(one.pid)
  return pid
}

/** Puts all of a wall into its group, takes what is to be taken from it before anybody else's code runs, and describes it. */
export function settleIn(
  taken: Taken,
  pid: number,
  to: {
    readonly asked: Wanted
    readonly command: JailCommand
    readonly watches: boolean
    readonly began: number
  },
): Wall {
  const { asked, command, watches } = to
  const isTightened = taken.isWhole || asked.way !== undefined
  const { cgroup } = taken
  for (const one of taken.processes) if (!cgroup?.holds(one.pid)) cgroup?.add(one.pid)
  cgroup?.limit({ pids: TASKS_MAX })
  // Whoever was started below it already stays there: an ordinary user cannot go back up.
  giveWay(pid, GUEST_NICE)
  if (taken.isWhole) taken.listenerFd = takeListener(pid, command.layers)
  if (isTightened) taken.idleTasks = tasksOf(countedFrom(taken).pid)
  cgroup?.forgetPeak()
  const idle = processesOfWall(taken)
  if (taken.isWhole) taken.idleProcesses = idle.length
  if (taken.isWhole) taken.idleMemory = cgroup?.ownMemory().own ?? 0
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
    calls: taken.sentinel ? classesFor(asked) : [],
    idleBytes: taken.isWhole ? bytesOf(idle) : residentBytes(pid),
    took: performance.now() - to.began,
  }
}
